"""Why a node takes a pod not: cordons, taints, selectors and affinity, in the order in which the scheduler filters.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/ and .../taint-and-toleration/. And what the
cluster's autoscaler says of such a pod: `processors/status/eventing_scale_up_processor.go` of
https://github.com/kubernetes/autoscaler.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflowaks.diagnosis.facts.kubernetes import SCALE_UPS
from airflowaks.diagnosis.facts.snapshot import Reading
from airflowaks.diagnosis.rules.policies import matches
from airflowaks.engine.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflowaks.diagnosis.facts.kubernetes import Event, Node
    from airflowaks.diagnosis.facts.snapshot import Snapshot

_ADDED, _ = SCALE_UPS
_PROVISIONED = timedelta(minutes=15)
"""`max-node-provision-time`: https://learn.microsoft.com/azure/aks/cluster-autoscaler#cluster-autoscaler-profile-settings"""
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class Refusal(NamedTuple):
    """Why nodes do not take a pod, as the end of a sentence about it, and what to do."""

    reason: str
    action: str


def scale_ups(facts: Snapshot) -> dict[str, Event]:
    """Return what the autoscaler said last about each pod."""
    return {event.name: event for event in facts.kubernetes.events if event.reason in SCALE_UPS}


def awaiting_a_node(facts: Snapshot) -> set[str]:
    """Return the unschedulable pods for which the autoscaler adds a node, and waits for it."""
    now, pods = facts.readings.get("kubernetes.pods", Reading()).at, facts.kubernetes.pods
    return {
        name
        for name, event in scale_ups(facts).items()
        if name in pods and pods[name].reason == "Unschedulable" and event.reason == _ADDED
        if now and parse_time(now) - parse_time(event.at) < _PROVISIONED
    }


def refusals(asks: Mapping[str, Any], node: Node) -> Iterator[Refusal]:
    """Yield each reason why a node does not take a pod that asks for these."""
    if node.cordoned and not _tolerates(asks, _CORDONED):
        yield Refusal("its nodes are cordoned", "Let pods on the nodes again with `kubectl uncordon`.")
    for taint in node.taints:
        if taint["effect"] != "PreferNoSchedule" and taint["key"] != _CORDONED["key"] and not _tolerates(asks, taint):
            text = f"{taint['key']}{'=' * bool(taint.get('value'))}{taint.get('value', '')}:{taint['effect']}"
            action = f"Remove the taint with `kubectl taint nodes NODE {text}-` or from the node pool, or tolerate it."
            yield Refusal(f"it does not tolerate the taint {text}", action)
    for label, value in (asks.get("nodeSelector") or {}).items():
        if node.labels.get(label) != value:
            yield Refusal(f"its nodeSelector asks for the label {label}={value}", _LABELS)
    affinity = (asks.get("affinity") or {}).get("nodeAffinity", {}).get(_REQUIRED)
    terms = affinity["nodeSelectorTerms"] if affinity else []
    if terms and not any(term.get("matchExpressions") and matches(term, node.labels) for term in terms):
        asked = " or ".join(" and ".join(map(_shown, term.get("matchExpressions") or ())) for term in terms)
        yield Refusal(f"its node affinity asks for {asked}", _LABELS)


_LABELS = "Run step 7, which sets the manifests' selectors, or give a node pool that label."


def _tolerates(asks: Mapping[str, Any], taint: Mapping[str, str]) -> bool:
    return any(
        toleration.get("effect") in (None, "", taint["effect"])
        and toleration.get("key") in (None, "", taint["key"])
        and (toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", ""))
        for toleration in asks.get("tolerations") or ()
    )


def _shown(expression: Mapping[str, Any]) -> str:
    values = ", ".join(expression.get("values") or ())
    return f"{expression['key']} {expression['operator']}{f' [{values}]' if values else ''}"
