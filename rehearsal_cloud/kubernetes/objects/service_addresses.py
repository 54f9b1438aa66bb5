"""The addresses of services: cluster IPs and node ports, allocated when a service is written.

https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/
"""

from __future__ import annotations

import ipaddress
import secrets
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import Cause, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects

_FIRST_NODE_PORT, _NODE_PORTS = 30000, 2768
_MOST_STATIC = 256
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


def allocate(objects: Objects, service: Document, old: Document | None, network: str) -> Document:
    """Return the service with its kept or newly allocated addresses from `network` (a CIDR).

    Raises Failure (422) where a requested address is taken or outside the network.
    """
    spec = dict(service["spec"])
    kept = (old or {}).get("spec") or {}
    kind = spec.get("type", "ClusterIP")
    if kind == "ExternalName":
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            spec.pop(key, None)
        return {**service, "spec": spec}
    other_services = [candidate for candidate in objects.list("Service") if not _same(candidate, service)]
    address = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "") or kept.get("clusterIP", "")
    if not address:
        address = _free_address(other_services, network)
    elif address not in ("None", kept.get("clusterIP")):
        _check_address(objects, service, address, other_services, network)
    spec |= {"clusterIP": address, "clusterIPs": [address]}
    headless = address == "None" and not spec.get("selector")
    spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if headless else ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "RequireDualStack" if headless else "SingleStack")
    needs_node_ports = kind == "NodePort" or (
        kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)
    )
    spec["ports"] = _node_ports(objects, service, kept, other_services) if needs_node_ports else _without(spec, kept)
    if not spec["ports"]:
        del spec["ports"]
    if kind == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
        taken = {port for candidate in other_services for port in _all_node_ports(candidate)}
        spec["healthCheckNodePort"] = (
            spec.get("healthCheckNodePort")
            or kept.get("healthCheckNodePort")
            or _free_node_port(taken | set(_all_node_ports({"spec": spec})))
        )
    elif spec.get("healthCheckNodePort") == kept.get("healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)
    return {**service, "spec": spec}


def _same(service: Document, other_service: Document) -> bool:
    keys = ("namespace", "name")
    return all(service["metadata"].get(key) == other_service["metadata"].get(key) for key in keys)


def _taken(services: list[Document]) -> set[str]:
    return {address for service in services for address in service["spec"].get("clusterIPs") or ()}


def _free_address(other_services: list[Document], network: str) -> str:
    """Return a free address from above the band reserved for static addresses."""
    range_ = ipaddress.IPv4Network(network)
    first = min(max(16, range_.num_addresses // 16), _MOST_STATIC)
    taken = _taken(other_services)
    while True:
        address = str(range_[first + secrets.randbelow(range_.num_addresses - first - 1)])
        if address not in taken:
            return address


def _check_address(
    objects: Objects, service: Document, address: str, other_services: list[Document], network: str
) -> None:
    try:
        inside = ipaddress.IPv4Address(address) in ipaddress.IPv4Network(network)
    except ValueError:
        return  # no address at all: validation has words for that
    why = "provided IP is already allocated" if address in _taken(other_services) else ""
    why = (
        why if inside else f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {network}"
    )
    if why:
        text = f'Invalid value: ["{address}"]: failed to allocate IP {address}: {why}'
        raise _refused(objects, service, Cause("FieldValueInvalid", "spec.clusterIPs", text))


def _node_ports(objects: Objects, service: Document, kept: Document, other_services: list[Document]) -> list[Document]:
    by_name = {port.get("name", ""): port.get("nodePort") for port in kept.get("ports") or ()}
    taken = {port for other_service in other_services for port in _all_node_ports(other_service)}
    ports = []
    for index, port in enumerate(service["spec"].get("ports") or ()):
        number = port.get("nodePort") or by_name.get(port.get("name", "")) or _free_node_port(taken)
        if number in taken:
            text = f"Invalid value: {number}: provided port is already allocated"
            raise _refused(objects, service, Cause("FieldValueInvalid", f"spec.ports[{index}].nodePort", text))
        taken.add(number)
        ports.append({**port, "nodePort": number})
    return ports


def _all_node_ports(service: Document) -> Iterator[int]:
    spec = service["spec"]
    numbers = [*(port.get("nodePort") for port in spec.get("ports") or ()), spec.get("healthCheckNodePort")]
    yield from filter(None, numbers)


def _free_node_port(taken: set[int]) -> int:
    while (number := _FIRST_NODE_PORT + secrets.randbelow(_NODE_PORTS)) in taken:
        pass
    return number


def _without(spec: Document, kept: Document) -> list[Document]:
    """Return the ports of a service without node ports; it drops those of its former type."""
    ports: list[Document] = spec.get("ports") or []
    if kept.get("type") not in _WITH_NODE_PORTS:
        return ports
    return [{key: value for key, value in port.items() if key != "nodePort"} for port in ports]


def _refused(objects: Objects, service: Document, cause: Cause) -> Exception:
    return invalid(objects.kinds.named("Service"), service["metadata"].get("name", ""), [cause])
