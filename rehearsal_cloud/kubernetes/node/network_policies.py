"""Network policies, resolved to addresses: for each pod that one selects, who may talk to it and whom it may talk to.

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

    A rule names peers (`who`) and `ports`; None means all. A pod that is not there is not restricted.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = {"ingress": {}, "egress": {}}
    policies = objects.list("NetworkPolicy")
    if not policies:
        return found
    everyone = [one for one in objects.list("Pod") if _address(one)]
    namespaces = {one["metadata"]["name"]: _labels(one) for one in objects.list("Namespace")}
    for policy in policies:
        namespace, spec = policy["metadata"]["namespace"], policy["spec"]
        directions = spec.get("policyTypes") or ["Ingress"]
        chosen = [
            one
            for one in everyone
            if one["metadata"]["namespace"] == namespace and matches_selector(spec.get("podSelector"), _labels(one))
        ]
        for direction, side in (("Ingress", "from"), ("Egress", "to")):
            if direction not in directions:
                continue
            for pod in chosen:
                rules = found[direction.lower()].setdefault(_address(pod), [])
                for rule in spec.get(direction.lower()) or []:
                    who = _peers(rule.get(side), namespace, everyone, namespaces)
                    targets = [pod] if direction == "Ingress" else everyone
                    rules.append({"who": who, "ports": _ports(rule.get("ports"), targets)})
    return found


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
    found = {_address(pod) for peer in peers for pod in everyone if _is_peer(peer, own, pod, namespaces)}
    return sorted(found)


def _is_peer(peer: Document, own: str, pod: Document, namespaces: dict[str, dict[str, str]]) -> bool:
    if "ipBlock" in peer:
        address, block = ipaddress.ip_address(_address(pod)), peer["ipBlock"]
        return address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(one) for one in block.get("except") or []
        )
    namespace = pod["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        if not matches_selector(peer["namespaceSelector"], namespaces.get(namespace, {})):
            return False
    elif namespace != own:
        return False
    return "podSelector" not in peer or matches_selector(peer["podSelector"], _labels(pod))


def _ports(ports: Sequence[Document] | None, targets: list[Document]) -> list[list[int]] | None:
    """Return ranges of TCP ports; names are those of the target's containers."""
    if not ports:
        return None
    found: list[list[int]] = []
    for one in ports:
        port = one.get("port")
        if one.get("protocol", "TCP") != "TCP":
            continue
        if port is None:
            found.append([1, 65535])
        elif isinstance(port, int):
            found.append([port, one.get("endPort", port)])
        else:
            named = {
                there["containerPort"]
                for pod in targets
                for container in pod["spec"]["containers"]
                for there in container.get("ports") or []
                if there.get("name") == port
            }
            found += [[number, number] for number in sorted(named)]
    return found
