"""Workloads: nodes, pods and Deployments, whatever runs in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import (
    CRITICAL,
    DOWNSTREAM,
    WARNING,
    Cause,
    Section,
    components,
    in_turn,
    lines,
    listed,
    log_lines,
)
from airflowaks.steps import airflow, cluster, volumes, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.kubernetes import Container
    from airflowaks.diagnosis.facts.snapshot import Snapshot

WORKLOADS = Section()
_SAID = ("event", "container")
_AKS = "https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/"
_PODS = "https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/"
_KILLED = 137
# How a dry run says that somebody else has set a field since.
_CONFLICT = "another tool manages"
_OBJECTS = in_turn(workload_identity.service_accounts, volumes.storage, airflow.everything)
_TOLD_CLOSER = ("checksum/secrets", "azure.workload.identity/use")


@WORKLOADS.rule(
    "AKA-804",
    CRITICAL,
    effects=("AKA-805", "AKA-807", *DOWNSTREAM),
    link=_PODS,
    remedy=in_turn(cluster.namespace, workload_identity.service_accounts, volumes.everything, airflow.everything),
)
def namespace_is_not_there(facts: Snapshot) -> Iterable[Cause]:
    """Tell of a namespace that is being deleted, or is gone."""
    phase = facts.kubernetes.namespace
    if phase != "Active":
        yield Cause(
            "Airflow's namespace is being deleted." if phase else "Airflow's namespace does not exist.",
            "If it stays Terminating, a finalizer of something in it holds it: `kubectl get namespace -o yaml` says"
            " which. Then run the deployment again.",
            [f"namespace: {phase or 'not found'}"],
        )


@WORKLOADS.rule(
    "AKA-812",
    CRITICAL,
    effects=("AKA-801", "AKA-813", *DOWNSTREAM),
    link=f"{_AKS}availability-performance/node-not-ready-basic-troubleshooting",
)
def node_is_not_ready(facts: Snapshot) -> Iterable[Cause]:
    """Tell of nodes that are away, or under pressure."""
    nodes = facts.kubernetes.nodes
    ill = [f"node {name}: NotReady" for name, one in nodes.items() if not one.ready]
    ill += [f"node {name}: {each}" for name, one in nodes.items() for each in one.pressures]
    if ill:
        yield Cause(
            "A node of the cluster is not ready, or is short of disk, memory or processes.",
            "AKS repairs or replaces it within some minutes; if not, `az aks nodepool upgrade --node-image-only`.",
            ill,
        )


@WORKLOADS.rule(
    "AKA-801", CRITICAL, effects=DOWNSTREAM, link=f"{_AKS}availability-performance/cluster-node-pool-scaling"
)
def pod_finds_no_node(facts: Snapshot) -> Iterable[Cause]:
    """Tell of pods that no node has room for."""
    words = (("nodes are available", "Insufficient"), ("didn't trigger scale-up",), ("Unschedulable",))
    if said := log_lines(facts, *words, sources=_SAID):
        yield Cause(
            "No node has room for a pod.",
            "Raise `cluster.node_pool.max_count` or choose larger machines and run step 1, or lower what pods ask for.",
            lines(said),
            components(said),
        )


@WORKLOADS.rule(
    "AKA-802", CRITICAL, effects=DOWNSTREAM, link=f"{_AKS}availability-performance/identify-memory-saturation-aks"
)
def container_ran_out_of_memory(facts: Snapshot) -> Iterable[Cause]:
    """Tell of containers that were killed for the memory that they took."""
    killed = [
        (name, container, pod.component)
        for name, pod in facts.kubernetes.pods.items()
        for container, one in pod.containers.items()
        if _was_killed(one)
    ]
    if killed:
        yield Cause(
            "A container was killed because it took more memory than its limit.",
            "Raise the component's memory in the environment file, or lower `airflow.workers.concurrency`; run step 7.",
            [f"pod {name}, container {container}: OOMKilled" for name, container, _ in killed],
            frozenset(component for *_, component in killed),
        )


def _was_killed(one: Container) -> bool:
    return one.ended == "OOMKilled" or (one.exit_code == _KILLED and "memory" in one.message.lower())


@WORKLOADS.rule("AKA-805", CRITICAL, effects=DOWNSTREAM, link=_PODS, remedy=_OBJECTS)
def object_is_missing(facts: Snapshot) -> Iterable[Cause]:
    """Tell of objects that the steps make and that are not in the cluster."""
    objects = facts.kubernetes.objects.values()
    gone = [one for one in objects if one.missing and one.kind != "SecretProviderClass"]
    if gone:
        components_only = all(one.kind == "Deployment" for one in gone)
        yield Cause(
            f"{listed([one.title for one in gone])} {'does' if len(gone) == 1 else 'do'} not exist in the cluster.",
            "Run step 7 (step 5 for service accounts, step 6 for claims): it makes what is missing.",
            [f"{one.title} does not exist" for one in gone],
            frozenset(one.name.removeprefix("airflow-") for one in gone) if components_only else frozenset(),
        )


@WORKLOADS.rule("AKA-811", CRITICAL, effects=DOWNSTREAM, link=_PODS)
def deployment_is_switched_off(facts: Snapshot) -> Iterable[Cause]:
    """Tell of Deployments that somebody scaled to nothing, or paused."""
    for name, one in facts.kubernetes.deployments.items():
        if one.paused or not one.wanted:
            how = "is paused" if one.paused else "is scaled to no pods"
            yield Cause(
                f"The Deployment {name} {how}.",
                f"`kubectl rollout resume deployment/{name}`."
                if one.paused
                else f"`kubectl scale deployment/{name} --replicas=1`: who scaled it keeps step 7 from doing it.",
                [f"Deployment {name} {how}"],
                frozenset({one.component}),
            )


@WORKLOADS.rule("AKA-813", WARNING, effects=("AKA-9",), link=_PODS)
def pod_was_evicted(facts: Snapshot) -> Iterable[Cause]:
    """Tell of pods that a node threw out."""
    evicted = {name: one for name, one in facts.kubernetes.pods.items() if one.reason == "Evicted"}
    if evicted:
        yield Cause(
            "A node threw pods out, because it was short of disk or memory.",
            "Their successors run elsewhere; raise the memory that pods ask for, or choose larger machines. What is"
            " left of them goes with `kubectl delete pods --field-selector status.phase=Failed`.",
            [f"pod {name}: {one.message}" for name, one in evicted.items()],
            frozenset(one.component for one in evicted.values()),
        )


@WORKLOADS.rule(
    "AKA-807",
    WARNING,
    effects=("AKA-703",),
    link="https://kubernetes.io/docs/reference/using-api/server-side-apply/",
    remedy=_OBJECTS,
)
def object_differs(facts: Snapshot) -> Iterable[Cause]:
    """Tell of objects that are not as the manifests have them."""
    differing: dict[str, list[str]] = {}
    for one in facts.kubernetes.objects.values():
        left = [each for each in one.differences if not any(words in each for words in _TOLD_CLOSER)]
        if one.exists and left:
            differing[one.title] = [f"{one.title}: {each}" for each in left]
        elif _CONFLICT in one.problem:
            differing[one.title] = [one.problem]
    if differing:
        yield Cause(
            f"{listed(list(differing))} {'is' if len(differing) == 1 else 'are'} not as the manifests have it:"
            " somebody changed it, or a setting was not rolled out.",
            "Run step 7 (5 and 6 for what is theirs), or put what you want into the environment file. Fields that"
            " another tool manages are first to be set back with it, or the object deleted.",
            [line for lines_of in differing.values() for line in lines_of],
        )
