"""Network policies, resolved to addresses: the allowed peers of each selected pod, in both directions.

https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects.selectors import matches_selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects

_ENDED = ("Succeeded", "Failed")


def admissions(objects: Objects) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return `ingress` and `egress`: the rules of each pod that a policy selects, by its address.

    A rule has `peers` (addresses) and `ports`; None means all; `outside` tells whether its peers are hosts outside the
    cluster, too. A pod without an entry is not restricted.
    """
    admitted: dict[str, dict[str, list[dict[str, Any]]]] = {"ingress": {}, "egress": {}}
    policies = objects.list("NetworkPolicy")
    if not policies:
        return admitted
    everyone = [pod for pod in objects.list("Pod") if _address(pod)]
    namespaces = {namespace["metadata"]["name"]: _labels(namespace) for namespace in objects.list("Namespace")}
    for policy in policies:
        namespace, spec = policy["metadata"]["namespace"], policy["spec"]
        directions = spec.get("policyTypes") or ["Ingress"]
        chosen = [
            pod
            for pod in everyone
            if pod["metadata"]["namespace"] == namespace and matches_selector(spec.get("podSelector"), _labels(pod))
        ]
        for direction, side in (("Ingress", "from"), ("Egress", "to")):
            if direction not in directions:
                continue
            for pod in chosen:
                rules = admitted[direction.lower()].setdefault(_address(pod), [])
                for rule in spec.get(direction.lower()) or []:
                    peer_addresses = _peers(rule.get(side), namespace, everyone, namespaces)
                    targets = [pod] if direction == "Ingress" else everyone
                    outside = _leaves(rule.get(side))
                    rules.append(
                        {"peers": peer_addresses, "ports": _ports(rule.get("ports"), targets), "outside": outside}
                    )
    return admitted


def _address(pod: Document) -> str:
    status = pod.get("status") or {}
    return "" if status.get("phase") in _ENDED else str(status.get("podIP", ""))


def _labels(document: Document) -> dict[str, str]:
    return document["metadata"].get("labels") or {}


def _peers(
    peers: Sequence[Document] | None, own: str, everyone: list[Document], namespaces: dict[str, dict[str, str]]
) -> list[str] | None:
    if not peers:
        return None
    addresses = {_address(pod) for peer in peers for pod in everyone if _is_peer(peer, own, pod, namespaces)}
    return sorted(addresses)


def _leaves(peers: Sequence[Document] | None) -> bool:
    blocks = [ipaddress.ip_network(peer["ipBlock"]["cidr"]) for peer in peers or () if "ipBlock" in peer]
    return not peers or any(not block.is_private for block in blocks)


def _is_peer(peer: Document, own: str, pod: Document, namespaces: dict[str, dict[str, str]]) -> bool:
    if "ipBlock" in peer:
        address, block = ipaddress.ip_address(_address(pod)), peer["ipBlock"]
        return address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(network) for network in block.get("except") or []
        )
    namespace = pod["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        if not matches_selector(peer["namespaceSelector"], namespaces.get(namespace, {})):
            return False
    elif namespace != own:
        return False
    return "podSelector" not in peer or matches_selector(peer["podSelector"], _labels(pod))


def _ports(ports: Sequence[Document] | None, targets: list[Document]) -> list[list[int]] | None:
    """Return ranges of TCP ports; names refer to the ports of the targets' containers."""
    if not ports:
        return None
    ranges: list[list[int]] = []
    for port_rule in ports:
        port = port_rule.get("port")
        if port_rule.get("protocol", "TCP") != "TCP":
            continue
        if port is None:
            ranges.append([1, 65535])
        elif isinstance(port, int):
            ranges.append([port, port_rule.get("endPort", port)])
        else:
            named = {
                container_port["containerPort"]
                for pod in targets
                for container in pod["spec"]["containers"]
                for container_port in container.get("ports") or []
                if container_port.get("name") == port
            }
            ranges += [[number, number] for number in sorted(named)]
    return ranges
