"""Rules of network policies and ingresses."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation.causes import forbidden, in_range, invalid, required
from rehearsal_cloud.kubernetes.objects.validation.names import checked, dns_subdomain, selector, supported
from rehearsal_cloud.kubernetes.objects.validation.services import LAST_PORT, port_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause


def network_policy(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a network policy."""
    spec = document["spec"]
    yield from selector("spec.podSelector", spec.get("podSelector", {}))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction, ())):
            path = f"spec.{direction}[{index}]"
            for at, port in enumerate(rule.get("ports", ())):
                yield from _port(f"{path}.ports[{at}]", port)
            for at, peer in enumerate(rule.get(peers, ())):
                yield from _peer(f"{path}.{peers}[{at}]", peer)
    for index, policy_type in enumerate(spec.get("policyTypes", ())):
        yield from supported(f"spec.policyTypes[{index}]", policy_type, "Ingress", "Egress")


def ingress(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of an ingress."""
    spec = document["spec"]
    if not spec.get("rules") and "defaultBackend" not in spec:
        yield invalid("spec", None, "either `defaultBackend` or `rules` must be specified")
    if "defaultBackend" in spec:
        yield from _backend("spec.defaultBackend", spec["defaultBackend"])
    for index, rule in enumerate(spec.get("rules", ())):
        path = f"spec.rules[{index}]"
        if rule.get("host"):
            yield from checked(f"{path}.host", rule["host"].removeprefix("*."), dns_subdomain)
        if "http" in rule:
            yield from _paths(f"{path}.http.paths", rule["http"].get("paths") or [])


def _port(path: str, port: Document) -> Iterator[Cause]:
    yield from supported(f"{path}.protocol", port["protocol"], "TCP", "UDP", "SCTP")
    if "port" in port:
        yield from port_reference(f"{path}.port", port["port"])
    if "endPort" in port:
        if not isinstance(port.get("port"), int):
            yield invalid(f"{path}.endPort", port["endPort"], "may not be specified when `port` is non-numeric")
        elif port["endPort"] < port["port"]:
            yield invalid(f"{path}.endPort", port["endPort"], "must be greater than or equal to `port`")
        yield from in_range(f"{path}.endPort", port["endPort"], 1, LAST_PORT)


def _peer(path: str, peer: Document) -> Iterator[Cause]:
    if not peer:
        yield required(path, "must specify a peer")
    for name in ("podSelector", "namespaceSelector"):
        yield from selector(f"{path}.{name}", peer.get(name, {}))
    if "ipBlock" not in peer:
        return
    if len(peer) > 1:
        yield forbidden(path, "may not specify both ipBlock and another peer")
    yield from _block(f"{path}.ipBlock", peer["ipBlock"])


def _block(path: str, block: Document) -> Iterator[Cause]:
    text = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    try:
        network = ipaddress.ip_network(block.get("cidr", ""), strict=False)
    except ValueError:
        yield invalid(f"{path}.cidr", block.get("cidr", ""), text) if block.get("cidr") else required(f"{path}.cidr")
        return
    for index, excepted in enumerate(block.get("except", ())):
        try:
            part = ipaddress.ip_network(excepted, strict=False)
        except ValueError:
            yield invalid(f"{path}.except[{index}]", excepted, text)
            continue
        inside = part.version == network.version and network.overlaps(part) and part.prefixlen > network.prefixlen
        if not inside:
            yield invalid(f"{path}.except[{index}]", excepted, "must be a strict subset of `cidr`")


def _paths(path: str, paths: list[Document]) -> Iterator[Cause]:
    if not paths:
        yield required(path)
    for index, path_ in enumerate(paths):
        where, type_ = f"{path}[{index}]", path_.get("pathType")
        if not type_:
            yield required(f"{where}.pathType", "pathType must be specified")
        else:
            yield from supported(f"{where}.pathType", type_, "Exact", "ImplementationSpecific", "Prefix")
        if type_ in ("Exact", "Prefix") and not path_.get("path", "").startswith("/"):
            yield invalid(f"{where}.path", path_.get("path", ""), "must be an absolute path")
        yield from _backend(f"{where}.backend", path_.get("backend", {}))


def _backend(path: str, backend: Document) -> Iterator[Cause]:
    if "service" not in backend:
        return
    port = backend["service"].get("port", {})
    if not backend["service"].get("name"):
        yield required(f"{path}.service.name")
    if not port.get("name") and not port.get("number"):
        yield required(path, "port name or number is required")
    elif port.get("number"):
        yield from in_range(f"{path}.service.port.number", port["number"], 1, LAST_PORT)
