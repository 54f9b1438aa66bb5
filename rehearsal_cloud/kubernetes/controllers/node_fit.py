"""Whether a pod fits a node: taints, selectors, affinity, requests and host ports, with the scheduler's messages."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.controllers.metadata import labels_of
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rehearsal_cloud.documents import Document

AFFINITY = "node(s) didn't match Pod's node affinity/selector"
_UNSCHEDULABLE = "node(s) were unschedulable"
_PORTS = "node(s) didn't have free ports for the requested pod ports"
_POD_AFFINITY = "node(s) didn't match pod affinity rules"
_POD_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
_SPREAD = "node(s) didn't match pod topology spread constraints"
CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
"""The taint of nodes that `kubectl cordon` made unschedulable."""


def reasons(pod: Document, node: Document, placed: list[Document], nodes: list[Document]) -> list[str]:
    """Return the reasons why the node cannot take the pod beside the `placed` pods; empty if it can.

    As in the scheduler, the first failing filter ends the search; the resource filter names all missing resources.
    """
    on_node = [other_pod for other_pod in placed if other_pod["spec"]["nodeName"] == node["metadata"]["name"]]
    filters: tuple[Callable[[], list[str]], ...] = (
        lambda: _cordoned(pod, node),
        lambda: _taints(pod, node),
        lambda: [] if _selected(pod, node) else [AFFINITY],
        lambda: (
            [_PORTS] if _host_ports(pod) & {port for other_pod in on_node for port in _host_ports(other_pod)} else []
        ),
        lambda: _resources(pod, node, on_node),
        lambda: _spread(pod, node, placed, nodes),
        lambda: _inter_pod_affinity(pod, node, placed, nodes),
    )
    return next((wrong for check in filters if (wrong := check())), [])


def is_resolvable(reason: str) -> bool:
    """Tell whether evicting other pods could make room."""
    return reason.startswith("Insufficient ") or reason in ("Too many pods", _PORTS, _POD_ANTI_AFFINITY, _SPREAD)


def resources(pod: Document, way: str = "requests") -> dict[str, Decimal]:
    """Return the resource requests or limits of a pod: the containers' sum or the largest init container's."""
    spec = pod["spec"]
    total = _sum(_of_container(container, way) for container in spec["containers"])
    for container in spec.get("initContainers") or ():
        amounts = _of_container(container, way)
        if container.get("restartPolicy") == "Always":  # a sidecar runs beside all that come after it
            total = _sum((total, amounts))
        else:
            total = {name: max(total.get(name, Decimal(0)), amounts.get(name, Decimal(0))) for name in total | amounts}
    return _sum((total, {name: amount(value) for name, value in (spec.get("overhead") or {}).items()}))


def _of_container(container: Document, way: str) -> dict[str, Decimal]:
    amounts = (container.get("resources") or {}).get(way) or {}
    return {name: amount(value) for name, value in amounts.items()}


def _sum(parts: Iterable[dict[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, Decimal(0)) + value
    return total


def _resources(pod: Document, node: Document, on_node: list[Document]) -> list[str]:
    allocatable = {name: amount(value) for name, value in (node["status"].get("allocatable") or {}).items()}
    wrong = ["Too many pods"] if len(on_node) + 1 > allocatable.get("pods", Decimal(0)) else []
    used = _sum(resources(other_pod) for other_pod in on_node)
    for name, request in resources(pod).items():
        if request > allocatable.get(name, Decimal(0)) - used.get(name, Decimal(0)):
            wrong.append(f"Insufficient {name}")
    return wrong


def _tolerates(pod: Document, taint: Document) -> bool:
    def fits(toleration: Document) -> bool:
        if toleration.get("effect") and toleration["effect"] != taint["effect"]:
            return False
        if toleration.get("key") and toleration["key"] != taint["key"]:
            return False
        return toleration.get("operator") == "Exists" or bool(
            toleration.get("value", "") == taint.get("value", "") and toleration.get("key")
        )

    return any(fits(toleration) for toleration in pod["spec"].get("tolerations") or ())


def _cordoned(pod: Document, node: Document) -> list[str]:
    cordoned = (node.get("spec") or {}).get("unschedulable") and not _tolerates(pod, CORDONED)
    return [_UNSCHEDULABLE] if cordoned else []


def _taints(pod: Document, node: Document) -> list[str]:
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint["effect"] in ("NoSchedule", "NoExecute") and not _tolerates(pod, taint):
            return ["node(s) had untolerated taint(s)"]
    return []


def _selected(pod: Document, node: Document) -> bool:
    spec, labels = pod["spec"], labels_of(node)
    if any(labels.get(name) != value for name, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if affinity is None:
        return True
    return any(_term(term, node) for term in affinity["nodeSelectorTerms"])


def _term(term: Document, node: Document) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    by_name = {"metadata.name": node["metadata"]["name"]}
    met = [_node_holds(expression, labels_of(node)) for expression in expressions] + [
        _node_holds(expression, by_name) for expression in fields
    ]
    return bool(met) and all(met)


def _node_holds(expression: Document, labels: dict[str, str]) -> bool:
    name, operator = expression["key"], expression["operator"]
    if operator in ("Gt", "Lt"):
        value, limit = labels.get(name, ""), int(expression["values"][0])
        return value.isdigit() and (int(value) > limit if operator == "Gt" else int(value) < limit)
    return matches_selector({"matchExpressions": [expression]}, labels)


def _host_ports(pod: Document) -> set[tuple[int, str]]:
    containers = pod["spec"]["containers"]
    ports = [port for container in containers for port in container.get("ports") or () if port.get("hostPort")]
    return {(port["hostPort"], port.get("protocol", "TCP")) for port in ports}


def _domain(node_name: str, nodes: list[Document], key: str) -> str | None:
    node = next((candidate for candidate in nodes if candidate["metadata"]["name"] == node_name), None)
    return labels_of(node).get(key) if node else None


def _matching(pod: Document, selector: Document | None, placed: list[Document]) -> list[Document]:
    namespace = pod["metadata"]["namespace"]
    in_namespace = [other_pod for other_pod in placed if other_pod["metadata"]["namespace"] == namespace]
    return [
        other_pod
        for other_pod in in_namespace
        if selector is not None and matches_selector(selector, labels_of(other_pod))
    ]


def _spread(pod: Document, node: Document, placed: list[Document], nodes: list[Document]) -> list[str]:
    for rule in pod["spec"].get("topologySpreadConstraints") or ():
        if rule["whenUnsatisfiable"] != "DoNotSchedule":
            continue
        key = rule["topologyKey"]
        own_domain = labels_of(node).get(key)
        eligible = [
            other_node for other_node in nodes if key in labels_of(other_node) and _counts(rule, pod, other_node)
        ]
        domains = {labels_of(other_node)[key]: 0 for other_node in eligible}
        if own_domain is None:
            return [f"{_SPREAD} (missing required label)"]
        same = {name: value for name in rule.get("matchLabelKeys") or () if (value := labels_of(pod).get(name))}
        for other_pod in _matching(pod, rule.get("labelSelector"), placed):
            domain = _domain(other_pod["spec"]["nodeName"], eligible, key)
            is_of_the_group = same.items() <= labels_of(other_pod).items()
            if domain in domains and is_of_the_group and "deletionTimestamp" not in other_pod["metadata"]:
                domains[domain] += 1
        own = matches_selector(rule.get("labelSelector") or {}, labels_of(pod))
        if domains[own_domain] + own - min(domains.values()) > rule["maxSkew"]:
            return [_SPREAD]
    return []


def _counts(rule: Document, pod: Document, node: Document) -> bool:
    """Tell whether a node, with its pods, counts for a spread constraint: nodeAffinityPolicy and nodeTaintsPolicy.

    https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/#spread-constraint-definition
    """
    if rule.get("nodeAffinityPolicy") != "Ignore" and not _selected(pod, node):
        return False
    return rule.get("nodeTaintsPolicy") != "Honor" or not (_cordoned(pod, node) or _taints(pod, node))


def _inter_pod_affinity(pod: Document, node: Document, placed: list[Document], nodes: list[Document]) -> list[str]:
    affinity = pod["spec"].get("affinity") or {}
    for kind, near_wanted, text in (
        ("podAffinity", True, _POD_AFFINITY),
        ("podAntiAffinity", False, _POD_ANTI_AFFINITY),
    ):
        for term in (affinity.get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            key = term["topologyKey"]
            matching = _matching(pod, term.get("labelSelector"), placed)
            domains = {_domain(other_pod["spec"]["nodeName"], nodes, key) for other_pod in matching}
            near = labels_of(node).get(key) in domains - {None}
            # The first pod of a group with affinity to itself has no pod to be near to.
            first = near_wanted and not matching and matches_selector(term.get("labelSelector") or {}, labels_of(pod))
            if near is not near_wanted and not first:
                return [text]
    return []
