"""Which of Airflow's traffic NetworkPolicies cut that no step made: computed from policies and labels of pods.

Policies add up: a pod that one selects may do what any of those that select it allows. So a policy cuts only what no
other one allows. https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflowaks.diagnosis.rules.cilium import translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflowaks.diagnosis.facts.kubernetes import Authored

Labels = dict[str, str]
TUNNEL = "tunnel"
"""The component of the pod through which the runbook reaches the backend."""
_NAME, _COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
_OUTSIDE, _DNS = "outside", "dns"
_DNS_LABELS = {"k8s-app": "kube-dns"}
_SIDES = (("Egress", "to"), ("Ingress", "from"))


class Flow(NamedTuple):
    """Traffic that Airflow needs: from pods of a component to those of another, or elsewhere, at a port."""

    source: str
    target: str
    port: int
    name: str
    what: str


def _flows() -> Iterable[Flow]:
    for component in ("worker", "triggerer"):
        yield Flow(component, "api-server", 8080, "http", "tasks and triggers to the api-server")
    yield Flow("api-server", "worker", 8793, "logs", "the api-server to the logs of running tasks")
    yield Flow("api-server", "triggerer", 8794, "logs", "the api-server to the logs of running triggers")
    for component in ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "migration", TUNNEL):
        whose = "the runbook's pod" if component == TUNNEL else f"the {component}"
        yield Flow(component, _DNS, 53, "dns", f"{whose} to the cluster's DNS")
        if component != "worker":
            yield Flow(component, _OUTSIDE, 5432, "", f"{whose} to PostgreSQL")
        if component in ("scheduler", "worker", TUNNEL):
            yield Flow(component, _OUTSIDE, 10000, "", f"{whose} to the broker")


FLOWS = tuple(_flows())


def cuts(policies: Sequence[Authored], pods: Mapping[str, Labels]) -> list[tuple[Authored, list[Flow]]]:
    """Return the policies that no step made and that cut traffic, each with what it cuts.

    `pods` are labels by component; a component that is not there has those of the manifests.
    """
    policies = [translated(policy) if policy.kind == "CiliumNetworkPolicy" else policy for policy in policies]
    ours = [policy for policy in policies if policy.ours]
    cut: list[tuple[Authored, list[Flow]]] = [(policy, []) for policy in policies if not policy.ours]
    of_queues = [component for component in pods if component.startswith("worker-")]
    for flow in (
        *FLOWS,
        *(_of_queue(flow, component) for component in of_queues for flow in FLOWS if "worker" in flow),
    ):
        for direction, peers in _SIDES:
            own, peer = (flow.source, flow.target) if direction == "Egress" else (flow.target, flow.source)
            if own in (_OUTSIDE, _DNS):
                continue
            labels, about = _labels(own, pods), (peer, _labels(peer, pods), flow, peers)
            if _allows(policies, direction, labels, *about) or not _allows(ours, direction, labels, *about):
                continue
            for policy, flows in cut:
                if _selects(policy, direction, labels) and flow not in flows:
                    flows.append(flow)
    return [(policy, flows) for policy, flows in cut if flows]


def _of_queue(flow: Flow, component: str) -> Flow:
    """Return the traffic of the workers of another queue than the default one."""
    source, target = (component if side == "worker" else side for side in (flow.source, flow.target))
    return flow._replace(source=source, target=target)


def _labels(component: str, pods: Mapping[str, Labels]) -> Labels:
    if component == _DNS:
        return _DNS_LABELS
    name = "airflow-tunnel" if component == TUNNEL else "airflow"
    return pods.get(component) or {_NAME: name, _COMPONENT: component}


def _selects(policy: Authored, direction: str, labels: Labels) -> bool:
    types = policy.spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in policy.spec else [])]
    return direction in types and matches(policy.spec.get("podSelector") or {}, labels)


def _allows(
    policies: Sequence[Authored], direction: str, labels: Labels, peer: str, of_peer: Labels, flow: Flow, peers: str
) -> bool:
    selecting = [policy for policy in policies if _selects(policy, direction, labels)]

    def has(part: str) -> bool:
        return any(
            _has_port(rule.get("ports"), flow)
            and (not rule.get(peers) or any(_is_peer(each, peer, of_peer) for each in rule[peers]))
            for policy in selecting
            for rule in policy.spec.get(part) or ()
        )

    return not selecting or (has(direction.lower()) and not has(f"{direction.lower()}Deny"))


def _has_port(ports: Sequence[Mapping[str, Any]] | None, flow: Flow) -> bool:
    return not ports or any(
        port.get("port") in (None, flow.name)
        or (isinstance(port["port"], int) and port["port"] <= flow.port <= port.get("endPort", port["port"]))
        for port in ports
    )


def _is_peer(peer: Mapping[str, Any], component: str, labels: Labels) -> bool:
    """Tell whether a peer of a rule is a component's pods; a block of addresses counts as every host outside.

    A selector of namespaces that is not empty counts as Airflow's own, too: their labels are not read.
    """
    if component == _OUTSIDE or "ipBlock" in peer:
        return component == _OUTSIDE and "ipBlock" in peer
    if component == _DNS and not _has_dns(peer.get("namespaceSelector")):
        return False
    return matches(peer.get("podSelector") or {}, labels)


def _has_dns(selector: Mapping[str, Any] | None) -> bool:
    return selector is not None and matches(selector, {"kubernetes.io/metadata.name": "kube-system"})


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector, or a term of a node affinity, matches labels."""
    named = selector.get("matchLabels") or {}
    return all(labels.get(name) == value for name, value in named.items()) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Evaluate a requirement as `labels.Requirement.Matches` of k8s.io/apimachinery does."""
    value, values = labels.get(expression["key"]), list(expression.get("values") or ())
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case operator:  # Gt and Lt, of node affinities alone
            number = int(value) if value and value.isdecimal() else None
            return number is not None and (number > int(values[0]) if operator == "Gt" else number < int(values[0]))
