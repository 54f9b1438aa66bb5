"""CiliumNetworkPolicies in the terms of NetworkPolicies: AKS's dataplane enforces both, and the former may deny.

What is denied is cut, whatever others allow: https://docs.cilium.io/en/latest/security/policy/deny/
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflowaks.diagnosis.facts.kubernetes import Authored

_NAMESPACE = "io.kubernetes.pod.namespace"
_DIRECTIONS = {"Ingress": "from", "Egress": "to"}
_ANY_HOST: dict[str, Any] = {"ipBlock": {"cidr": "0.0.0.0/0"}}
_ENTITIES: dict[str, dict[str, Any]] = {"world": _ANY_HOST, "cluster": {"namespaceSelector": {}}}


def translated(policy: Authored) -> Authored:
    """Return a CiliumNetworkPolicy with the spec of a NetworkPolicy, and `ingressDeny` and `egressDeny` beside it."""
    spec: dict[str, Any] = {"podSelector": _selector(policy.spec.get("endpointSelector") or {}), "policyTypes": []}
    for direction, side in _DIRECTIONS.items():
        for part in (direction.lower(), f"{direction.lower()}Deny"):
            if part in policy.spec:
                spec["policyTypes"].append(direction)
                spec[part] = [_rule(rule, side) for rule in policy.spec[part] or ()]
    return replace(policy, spec=spec)


def _rule(rule: Mapping[str, Any], side: str) -> dict[str, Any]:
    peers = list(_peers(rule, side))
    ports = [_port(port) for ports in rule.get("toPorts") or () for port in ports.get("ports") or ()]
    return {**({side: peers} if peers and {} not in peers else {}), **({"ports": ports} if ports else {})}


def _peers(rule: Mapping[str, Any], side: str) -> Iterator[dict[str, Any]]:
    """Yield peers of a NetworkPolicy, {} for everybody; hosts by name count as any host outside."""
    for selector in rule.get(f"{side}Endpoints") or ():
        yield _peer(_selector(selector))
    for entity in rule.get(f"{side}Entities") or ():
        yield {} if entity == "all" else _ENTITIES.get(entity, {"podSelector": {"matchLabels": {"entity": entity}}})
    if any(rule.get(f"{side}{kind}") for kind in ("CIDR", "CIDRSet", "FQDNs")):
        yield _ANY_HOST


def _peer(selector: dict[str, Any]) -> dict[str, Any]:
    namespace = selector["matchLabels"].pop(_NAMESPACE, None)
    own = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}} if namespace else {}
    return {**own, "podSelector": selector}


def _selector(selector: Mapping[str, Any]) -> dict[str, Any]:
    """Return a selector without the sources of labels that Cilium writes before them: `k8s:`, `any:`."""
    labels = {name.rpartition(":")[2]: value for name, value in (selector.get("matchLabels") or {}).items()}
    expressions = [
        {**expression, "key": expression["key"].rpartition(":")[2]}
        for expression in selector.get("matchExpressions") or ()
    ]
    return {"matchLabels": labels, "matchExpressions": expressions}


def _port(port: Mapping[str, Any]) -> dict[str, Any]:
    number = str(port.get("port", ""))
    return {**port, "port": int(number) if number.isdecimal() else number}
