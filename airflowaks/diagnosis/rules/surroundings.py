"""Surroundings: what others have put beside Airflow in the cluster, its DNS, and its nodes' clocks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflowaks.diagnosis import foreign
from airflowaks.diagnosis.readers.surroundings import AUTOSCALERS, POLICIES
from airflowaks.diagnosis.rules.policies import TUNNEL, cuts
from airflowaks.diagnosis.rules.rule import DOWNSTREAM, NO_NEW_PODS, WARNING, Cause, Section
from airflowaks.engine.converge import converge
from airflowaks.kube.ownership import taking_over
from airflowaks.steps import airflow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.kubernetes import Authored
    from airflowaks.diagnosis.facts.snapshot import LogLine, Snapshot
    from airflowaks.engine.changes import Changes
    from airflowaks.session import Session

_KUBERNETES = "https://kubernetes.io/docs/"
_BACKEND = ("backend.", "airflow.waiting")
_VERSIONS = {kind: api_version for api_version, kind in (*POLICIES, *AUTOSCALERS)}
# A lease is renewed every ten seconds; api-server and scheduler forgive ten (`[api_auth] jwt_leeway`).
_AHEAD_SECONDS, _BEHIND_SECONDS = 30.0, 90.0
SURROUNDINGS = Section("log", "reading")


def _delete(governor: Authored, session: Session) -> Changes:
    """Delete an object that no step made; what made it, and its spec, are in the record."""
    return foreign.delete_object(session, _VERSIONS[governor.kind], governor.kind, governor.name)


@SURROUNDINGS.rule(
    "AKA-817",
    effects=(
        "AKA-513",
        "AKA-519",
        "AKA-609",
        "AKA-706",
        "AKA-707",
        "AKA-819",
        "AKA-004",
        "AKA-006",
        *NO_NEW_PODS,
        *DOWNSTREAM,
    ),
    link=f"{_KUBERNETES}concepts/services-networking/network-policies/",
    automatic=True,
)
def _policy_cuts_traffic(facts: Snapshot) -> Iterable[Cause]:
    deployments = facts.kubernetes.deployments.values()
    pods = {each.component: dict(each.labels) for each in deployments if each.labels}
    for policy, flows in cuts(facts.kubernetes.policies, pods):
        components = {flow.source for flow in flows} | {flow.target for flow in flows}
        yield Cause(
            f"The {policy.kind} {policy.name}, which no step of the runbook made, cuts traffic of Airflow.",
            "Ask who made it, or let the fix delete it: it shows the policy first.",
            [str(policy), "it cuts: " + "; ".join(dict.fromkeys(flow.what for flow in flows))],
            frozenset() if TUNNEL in components else frozenset(components),
            partial(_delete, policy),
        )


def _scale_back(autoscaler: Authored, session: Session) -> Changes:
    """Delete an autoscaler, and take the replicas over that it has set."""
    target = autoscaler.spec["scaleTargetRef"]["name"]
    deployments = [each for each in session.memoize(airflow.Resources).deployments if each.name == target]
    with taking_over(session):
        return _delete(autoscaler, session) + converge(session, *deployments)


@SURROUNDINGS.rule(
    "AKA-818",
    WARNING,
    effects=("AKA-811", "AKA-905"),
    link=f"{_KUBERNETES}concepts/workloads/autoscaling/horizontal-pod-autoscale/",
    automatic=True,
)
def _somebody_elses_autoscaler(facts: Snapshot) -> Iterable[Cause]:
    """Name autoscalers of Airflow's Deployments that no step made.

    Where two select the same pods, neither scales: `AmbiguousSelector` of
    https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/podautoscaler/horizontal.go.
    """
    ours = {each.spec["scaleTargetRef"]["name"] for each in facts.kubernetes.autoscalers if each.ours}
    for autoscaler in facts.kubernetes.autoscalers:
        target = autoscaler.spec["scaleTargetRef"]["name"]
        if not autoscaler.ours and (deployment := facts.kubernetes.deployments.get(target)):
            instead = "whose own autoscaler it stops" if target in ours else "whose replicas the environment file sets"
            status = facts.kubernetes.objects.get(f"Deployment {target}")
            yield Cause(
                f"The {autoscaler.kind} {autoscaler.name}, which no step of the runbook made, scales the Deployment"
                f" {target}, {instead}.",
                "Ask who made it, or let the fix delete it and set the replicas back: it shows both first.",
                [str(autoscaler), *(status.differing("spec.replicas:") if status else ())],
                frozenset({deployment.component}),
                partial(_scale_back, autoscaler),
            )


@SURROUNDINGS.rule(
    "AKA-819",
    effects=("AKA-513", "AKA-519", "AKA-609", "AKA-706", "AKA-004", "AKA-006", "AKA-701", *DOWNSTREAM),
    link="https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/dns/basic-troubleshooting-dns-resolution-problems",
)
def _names_are_not_resolved(facts: Snapshot) -> Iterable[Cause]:
    """By the words of EAI_AGAIN: no DNS server answered; a name that does not exist is EAI_NONAME."""
    unhealthy = {pod.component for pod in facts.kubernetes.pods.values() if not pod.healthy}

    def is_now(line: LogLine) -> bool:
        return line.where.startswith(_BACKEND) if line.source == "reading" else line.component in unhealthy

    lines = [line for line in SURROUNDINGS.lines(facts, ("Temporary failure in name resolution",)) if is_now(line)]
    ready, pods = facts.kubernetes.dns or (1, 1)
    silent = not ready and all(node.ready for node in facts.kubernetes.nodes.values())
    yield Cause(
        "The cluster's DNS does not answer: host names cannot be resolved in pods.",
        "Check `kubectl get pods -n kube-system -l k8s-app=kube-dns` and the ConfigMap coredns-custom there; restart"
        " CoreDNS with `kubectl rollout restart deployment coredns -n kube-system`. Where a node pool has LocalDNS, the"
        " namespace needs the CiliumNetworkPolicy of learn.microsoft.com/azure/aks/localdns-custom.",
        [*([f"0 of {pods} pods of CoreDNS are ready"] if silent else []), *lines],
    )


@SURROUNDINGS.rule(
    "AKA-820",
    effects=("AKA-302", "AKA-319", "AKA-701", "AKA-707", "AKA-906", "AKA-92"),
    link="https://learn.microsoft.com/azure/virtual-machines/linux/time-sync",
)
def _clock_is_wrong(facts: Snapshot) -> Iterable[Cause]:
    ready = {name for name, node in facts.kubernetes.nodes.items() if node.ready}
    wrong = [
        f"node {name}: {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the cluster's API"
        for name, ahead in facts.kubernetes.clocks.items()
        if not -_BEHIND_SECONDS <= ahead <= _AHEAD_SECONDS and name in ready
    ]
    yield Cause(
        "The clock of a node is wrong, so tokens that its pods get or check are not valid yet, or not any more.",
        "Replace the node: `kubectl drain` it, then `az aks nodepool delete-machines`; or restart chronyd on it.",
        wrong,
    )
