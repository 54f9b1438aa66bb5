"""Workloads: nodes, pods and what keeps them from running."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.drift import OBJECTS
from airflowaks.diagnosis.rules.placement import Refusal, awaiting_a_node, refusals, scale_ups
from airflowaks.diagnosis.rules.rule import (
    DOWNSTREAM,
    NO_NEW_PODS,
    NOTE,
    WARNING,
    Cause,
    Section,
    components_of,
    in_turn,
    listed,
)
from airflowaks.steps import airflow, cluster, volumes, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflowaks.diagnosis.facts.kubernetes import Container
    from airflowaks.diagnosis.facts.snapshot import Snapshot

_AKS = "https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/"
_PODS = "https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/"
_KILLED = 137
_CONFIGURE = "https://kubernetes.io/docs/tasks/configure-pod-container/"
_SCHEDULING = "https://kubernetes.io/docs/concepts/scheduling-eviction/"
_FULL = ("Insufficient", "Too many pods")
_NOT_TAKEN = ("node affinity/selector", "untolerated taint", "were unschedulable", "topology spread constraints")
_NOT_CREATED = (
    (
        "CreateContainerConfigError",
        "configmap",
        "A ConfigMap that a container reads does not exist, or lacks a key.",
        "Run step 7, which applies the ConfigMaps; the containers then start automatically.",
    ),
    (
        "CreateContainerConfigError",
        "runAsNonRoot|non-root policy",
        "A container must not run as root, and its image would.",
        "Run step 7, which sets `runAsUser`, or give the image a user that is a number other than 0.",
    ),
    (
        "ErrImageNeverPull",
        "",
        "A container's image is not on the node, and the pod forbids to pull it.",
        "Run step 7, which pulls images, or remove `imagePullPolicy: Never`.",
    ),
)
_REFUSED = (
    (
        ("is forbidden", "error looking up service account"),
        "The service account of new pods does not exist, so none is created.",
        "Run step 5, which creates the service accounts.",
    ),
    (
        ("is forbidden", "exceeded quota"),
        "The namespace's ResourceQuota is used up, so new pods are refused.",
        "Raise or delete the ResourceQuota that the evidence names, or lower the pods' requests.",
    ),
    (
        ("is forbidden", "failed quota"),
        "The namespace's ResourceQuota counts what new pods do not set, so they are refused.",
        "Set the amounts that the evidence lists, or give the namespace a LimitRange with defaults.",
    ),
    *(
        (
            ("is forbidden", words),
            "The namespace's LimitRange refuses new pods.",
            "Change the LimitRange, or set the pods' requests and limits within its bounds.",
        )
        for words in ("usage per ", "limit to request ratio per ")
    ),
    (
        ("is forbidden", "violates PodSecurity"),
        "The namespace's PodSecurity level refuses new pods.",
        "Set back what the evidence lists, or relax the namespace's label pod-security.kubernetes.io/enforce.",
    ),
    # k8s.io/apiserver/pkg/admission/plugin/webhook; Azure Policy's is Gatekeeper's, workload identity's is AKS's own.
    (
        ("failed calling webhook",),
        "An admission webhook does not answer, so new pods are refused.",
        "Check the pods behind the webhook that the evidence names; until then, set its failurePolicy to Ignore.",
    ),
    (
        ("admission webhook", "denied the request"),
        "An admission webhook refuses new pods.",
        "Set back what the evidence names, or have the owner of the policy exempt the namespace.",
    ),
)
WORKLOADS = Section("event", "container", link=_PODS)


@WORKLOADS.rule(
    "AKA-804",
    effects=("AKA-805", "AKA-807", *NO_NEW_PODS, *DOWNSTREAM),
    remedy=in_turn(cluster.namespace, workload_identity.service_accounts, volumes.everything, airflow.everything),
)
def _namespace_is_missing(facts: Snapshot) -> Iterable[Cause]:
    phase = facts.kubernetes.namespace
    if phase != "Active":
        yield Cause(
            "Airflow's namespace is being deleted." if phase else "Airflow's namespace does not exist.",
            "If it stays Terminating, an object in it has a finalizer: find it with `kubectl get namespace -o yaml`."
            " Then run the deployment again.",
            [f"namespace: {phase or 'not found'}"],
        )


@WORKLOADS.rule(
    "AKA-812",
    effects=("AKA-801", "AKA-806", "AKA-813", *NO_NEW_PODS, *DOWNSTREAM),
    link=f"{_AKS}availability-performance/node-not-ready-basic-troubleshooting",
)
def _node_is_not_ready(facts: Snapshot) -> Iterable[Cause]:
    nodes = facts.kubernetes.nodes
    unready = [f"node {name}: NotReady" for name, node in nodes.items() if not node.ready]
    pressures = [f"node {name}: {pressure}" for name, node in nodes.items() for pressure in node.pressures]
    yield Cause(
        "A node of the cluster is not ready, or is short of disk, memory or process IDs.",
        "Wait some minutes: AKS repairs or replaces it. If not, run `az aks nodepool upgrade --cluster-name …"
        " --resource-group … --name … --node-image-only`.",
        [*unready, *pressures],
    )


@WORKLOADS.rule(
    "AKA-801",
    effects=("AKA-806", *NO_NEW_PODS, *DOWNSTREAM),
    link=f"{_AKS}availability-performance/cluster-node-pool-scaling",
)
def _nodes_are_full(facts: Snapshot) -> Iterable[Cause]:
    """Name pods for which no node has room, and what the autoscaler says of each."""
    waiting, is_added = _unschedulable(facts), _nodes_are_added(facts)
    # A pool's first node is added for a pod that no node of other pools takes.
    words = (*_FULL, *_NOT_TAKEN) if is_added else _FULL
    lines = WORKLOADS.lines(facts, *(("nodes are available", word) for word in words))
    said = [event for name, event in scale_ups(facts).items() if name in waiting]
    if not lines:
        return
    if is_added:
        yield Cause(
            "A pod waits for a node, which the cluster's autoscaler adds.",
            "Wait some minutes. If no node joins within fifteen, the autoscaler gives up and tries again.",
            [*said, *lines],
            components_of(lines),
            severity=NOTE,
        )
    else:
        yield Cause(
            "A pod is unschedulable: no node has enough free CPU or memory.",
            "Raise `cluster.node_pool.max_count` or choose a larger VM size and run step 1, or lower the pods'"
            " requests.",
            [*said, *lines],
            components_of(lines),
        )


@WORKLOADS.rule("AKA-806", effects=(*NO_NEW_PODS, *DOWNSTREAM), link=f"{_SCHEDULING}assign-pod-node/")
def _no_node_takes_a_pod(facts: Snapshot) -> Iterable[Cause]:
    """Name what keeps a pod from the nodes: the scheduler's words name neither label nor, in new versions, taint."""
    if _nodes_are_added(facts):
        return
    lines = WORKLOADS.lines(facts, *(("nodes are available", words) for words in _NOT_TAKEN))
    refused: dict[Refusal, list[str]] = {}
    if lines:
        for pod in facts.kubernetes.pods.values():
            for name, node in facts.kubernetes.nodes.items() if pod.asks and not pod.healthy else ():
                for refusal in refusals(pod.asks, node):
                    refused.setdefault(refusal, []).append(name)
    reasons = list(dict.fromkeys(refusal.reason for refusal in refused))
    actions = dict.fromkeys(refusal.action for refusal in refused)
    yield Cause(
        f"A pod is unschedulable: {', and '.join(reasons[:2]) or 'the nodes do not meet what it asks for'}.",
        " ".join(actions) or "Run step 7, which sets the pods' selectors, tolerations and constraints.",
        [*(f"{_nodes(names)}: {refusal.reason}" for refusal, names in refused.items()), *lines],
        components_of(lines),
    )


def _unschedulable(facts: Snapshot) -> set[str]:
    return {name for name, pod in facts.kubernetes.pods.items() if pod.reason == "Unschedulable"}


def _nodes_are_added(facts: Snapshot) -> bool:
    """Tell whether the autoscaler adds a node for each pod that waits for one."""
    waiting = _unschedulable(facts)
    return bool(waiting) and waiting <= awaiting_a_node(facts)


def _nodes(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return f"node {distinct[0]}" if len(distinct) == 1 else f"{len(distinct)} nodes, {listed(distinct)}"


@WORKLOADS.rule("AKA-802", effects=DOWNSTREAM, link=f"{_AKS}availability-performance/identify-memory-saturation-aks")
def _container_ran_out_of_memory(facts: Snapshot) -> Iterable[Cause]:
    killed = [
        (name, title, pod.component)
        for name, pod in facts.kubernetes.pods.items()
        for title, container in pod.containers.items()
        if _ran_out_of_memory(container)
    ]
    yield Cause(
        "A container was OOM-killed: it exceeded its memory limit.",
        "Raise the component's memory in the environment file or lower `airflow.workers.concurrency`, then run step 7.",
        [f"pod {name}, container {title}: OOMKilled" for name, title, _ in killed],
        frozenset(component for *_, component in killed),
    )


def _ran_out_of_memory(container: Container) -> bool:
    killed = container.exit_code == _KILLED and "memory" in container.message.lower()
    return killed or container.ended == "OOMKilled"


@WORKLOADS.rule("AKA-805", effects=("AKA-815", "AKA-816", *DOWNSTREAM), remedy=OBJECTS)
def _object_is_missing(facts: Snapshot) -> Iterable[Cause]:
    objects, claims = facts.kubernetes.objects.values(), facts.kubernetes.claims.values()
    # A claim that waits for its class is AKA-406's, whose fix creates the class.
    waiting = any(claim.phase == "Pending" and not claim.waits_for_pod for claim in claims)
    specific = ("SecretProviderClass", *(["StorageClass"] if waiting else []))
    absent = [status for status in objects if status.missing and status.kind not in specific]
    if absent:
        components_only = all(status.kind == "Deployment" for status in absent)
        names = listed([status.title for status in absent])
        yield Cause(
            f"{names} {'does' if len(absent) == 1 else 'do'} not exist in the cluster.",
            "Run step 7 (step 5 for service accounts, step 6 for claims), which creates missing objects.",
            [f"{status.title} does not exist" for status in absent],
            frozenset(status.name.removeprefix("airflow-") for status in absent) if components_only else frozenset(),
        )


@WORKLOADS.rule("AKA-815", effects=DOWNSTREAM, link=_CONFIGURE)
def _container_is_not_created(facts: Snapshot) -> Iterable[Cause]:
    """By the kubelet's words, measured with 1.36; a missing Secret is AKA-309's."""
    for name, pod in facts.kubernetes.pods.items():
        for title, container in pod.containers.items():
            for reason, words, sentence, fix in _NOT_CREATED:
                if container.waiting == reason and re.search(words, container.message):
                    evidence = [f"pod {name}, container {title}: {container.waiting}: {container.message}"]
                    yield Cause(sentence, fix, evidence, frozenset({pod.component} - {""}))


@WORKLOADS.rule("AKA-816", effects=(*NO_NEW_PODS, *DOWNSTREAM))
def _new_pods_are_refused(facts: Snapshot) -> Iterable[Cause]:
    """By the API server's words, which a Deployment's condition and the events of a Job repeat."""
    for words, sentence, fix in _REFUSED:
        lines = WORKLOADS.lines(facts, (words[-1], "FailedCreate", *words), sources=("event",))
        yield Cause(sentence, fix, lines, components_of(lines))


@WORKLOADS.rule("AKA-813", WARNING, effects=("AKA-9",))
def _pod_was_evicted(facts: Snapshot) -> Iterable[Cause]:
    evicted = {name: pod for name, pod in facts.kubernetes.pods.items() if pod.reason == "Evicted"}
    yield Cause(
        "A node evicted pods because it was short of disk or memory.",
        "Raise the pods' memory, or choose a larger VM size; replacements already run on other nodes. Delete the"
        " evicted pods with `kubectl delete pods --field-selector status.phase=Failed`.",
        [f"pod {name}: {pod.message}" for name, pod in evicted.items()],
        frozenset(pod.component for pod in evicted.values()),
    )
