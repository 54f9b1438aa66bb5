"""Rules of services."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation.causes import duplicate, forbidden, in_range, invalid, required
from rehearsal_cloud.kubernetes.objects.validation.names import (
    checked,
    dns_label,
    dns_subdomain,
    labels,
    port_name,
    supported,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

LAST_PORT = 65_535


def service(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a service."""
    spec = document["spec"]
    type_, address = spec["type"], spec.get("clusterIP", "")
    if not spec.get("ports") and type_ != "ExternalName" and address != "None":
        yield required("spec.ports")
    if type_ == "ExternalName":
        yield from _external_name(spec)
    yield from _ports(spec)
    yield from labels("spec.selector", spec.get("selector", {}))
    yield from supported("spec.sessionAffinity", spec["sessionAffinity"], "ClientIP", "None")
    yield from supported("spec.type", type_, "ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    yield from _address(type_, address)
    outside = type_ in ("NodePort", "LoadBalancer") or spec.get("externalIPs")
    if spec.get("externalTrafficPolicy") and not outside:
        text = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], text)
    if old:
        yield from _updated(spec, old["spec"])


def _external_name(spec: Document) -> Iterator[Cause]:
    name = spec.get("externalName", "").removesuffix(".")
    if name:
        yield from checked("spec.externalName", name, dns_subdomain)
    else:
        yield required("spec.externalName")


def _ports(spec: Document) -> Iterator[Cause]:
    ports, names, numbers = spec.get("ports", []), set(), set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name", "")
        if name:
            yield from checked(f"{path}.name", name, dns_label)
            if name in names:
                yield duplicate(f"{path}.name", name)
            names.add(name)
        elif len(ports) > 1:
            yield required(f"{path}.name")
        yield from in_range(f"{path}.port", port["port"], 1, LAST_PORT)
        yield from supported(f"{path}.protocol", port["protocol"], "SCTP", "TCP", "UDP")
        yield from port_reference(f"{path}.targetPort", port["targetPort"])
        if port.get("nodePort") and spec["type"] == "ClusterIP":
            yield forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'")
        key = (port["protocol"], port["port"])
        if key in numbers:
            yield duplicate(path, {"port": port["port"], "protocol": port["protocol"], "targetPort": 0})
        numbers.add(key)


def port_reference(path: str, port: int | str) -> Iterator[Cause]:
    """Yield the validation errors of a port's number or name."""
    if isinstance(port, int):
        yield from in_range(path, port, 1, LAST_PORT)
    else:
        yield from checked(path, port, port_name)


def _address(type_: str, address: str) -> Iterator[Cause]:
    if not address:
        return
    if address == "None":
        if type_ in ("NodePort", "LoadBalancer"):
            yield invalid("spec.clusterIPs[0]", address, f"may not be set to 'None' for {type_} services")
        return
    try:
        ipaddress.ip_address(address)
    except ValueError:
        text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        yield invalid("spec.clusterIPs[0]", address, text)


def _updated(spec: Document, old: Document) -> Iterator[Cause]:
    if "ExternalName" in (spec["type"], old["type"]) or not old.get("clusterIP"):
        return
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    if not addresses:
        yield invalid("spec.clusterIPs[0]", addresses, "primary clusterIP can not be unset")
    elif addresses[0] != old["clusterIP"]:
        yield invalid("spec.clusterIPs[0]", addresses, "may not change once set")
