"""What the pods of a list are: healthy, still settling, or ill, and in the last case what their containers logged."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from airflowaks.diagnosis.facts.kubernetes import Container, Pod
from airflowaks.engine.times import parse_time, seconds_since, timestamp
from airflowaks.errors import KubernetesError
from airflowaks.kube.client import Reference
from airflowaks.kube.pods import is_ready

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.kube.client import Document, Kube

Warnings = dict[str, list[str]]
"""By pod the reasons of the warnings about it."""

_COMPONENT = "app.kubernetes.io/component"
_IDENTITY = "azure.workload.identity/use"
_SETTLING_SECONDS = 180.0
# What is usual while a pod starts.
_USUAL_WAITING = ("", "ContainerCreating", "PodInitializing")
_USUAL_WARNING = "Unhealthy"
# How long before a pod ceases to be ready it may begin to say why: probes fail several times first.
_BEFOREHAND = timedelta(minutes=5)
_MOST_PODS, _LINES, _LONGEST_LOG = 20, 200, 65_536
_OF_EACH_COMPONENT, _SIDE_BY_SIDE = 3, 8


class Running(NamedTuple):
    """The pods by name, and by component how many of them are still settling."""

    pods: dict[str, Pod]
    settling: Mapping[str, int]


def pods(documents: Iterable[Document], scope: Scope, warned: Warnings, complete_jobs: Collection[str]) -> Running:
    """Return the pods that are not about to end. What Jobs that are complete have tried before counts as done."""
    found: dict[str, Pod] = {}
    settling: Counter[str] = Counter()
    for one in documents:
        metadata = one["metadata"]
        if "deletionTimestamp" in metadata:
            continue
        pod = _pod(one, scope)
        if not pod.healthy and _is_done(one, complete_jobs):
            pod = replace(pod, healthy=True)
        elif not pod.healthy and _is_settling(pod, warned.get(metadata["name"], ())):
            pod = replace(pod, healthy=True)
            settling[pod.component] += 1
        found[metadata["name"]] = pod
    return Running(found, settling)


def with_logs(kube: Kube, scope: Scope, known: Mapping[str, Pod], suspects: Collection[str]) -> dict[str, Pod]:
    """Return the pods that are ill, the newest first and not more than twenty, with the ends of their logs.

    Of `suspects`, components that work and may know why others do not, one pod each is asked too. What is over is no
    evidence: those are asked for what they wrote within the scope, a pod that is ill for what it wrote since shortly
    before it was, and no container that is ready again for what it said before its restart.
    """
    newest = sorted(known.items(), key=lambda item: item[1].created, reverse=True)
    ill: Counter[str] = Counter()
    chosen: list[str] = []
    for name, pod in newest:
        wanted = _OF_EACH_COMPONENT if not pod.healthy else int(pod.component in suspects)
        if ill[pod.component] < wanted:
            ill[pod.component] += 1
            chosen.append(name)
    asked = chosen[:_MOST_PODS]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        logged = pool.map(lambda name: _logged(kube, scope, name, known[name]), asked)
        return dict(zip(asked, logged, strict=True))


def _logged(kube: Kube, scope: Scope, name: str, pod: Pod) -> Pod:
    reference = Reference("v1", "Pod", name, scope.namespace)
    since = scope.start if pod.healthy else _before(pod.turned)

    def tail(container: str, *, previous: bool) -> str:
        try:
            return kube.logs(reference, container, lines=_LINES, previous=previous, since=since)[-_LONGEST_LOG:]
        except KubernetesError:
            return ""

    containers = {
        container: replace(
            one,
            log=tail(container, previous=False) if one.started else "",
            previous=tail(container, previous=True) if one.restarts and not one.ready else "",
        )
        for container, one in pod.containers.items()
    }
    return replace(pod, containers=containers)


def _before(turned: str) -> str:
    return timestamp(parse_time(turned) - _BEFOREHAND) if turned else ""


def _pod(one: Document, scope: Scope) -> Pod:
    metadata, spec, status = one["metadata"], one["spec"], one.get("status", {})
    labels = metadata.get("labels", {})
    healthy = status.get("phase") == "Succeeded" or is_ready(one)
    statuses = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    scheduled = conditions.get("PodScheduled", {})
    reason = scheduled if scheduled.get("status") == "False" else status
    return Pod(
        component=labels.get(_COMPONENT, ""),
        phase=status.get("phase", "Pending"),
        healthy=healthy,
        reason=reason.get("reason", ""),
        message=reason.get("message", ""),
        node=spec.get("nodeName", ""),
        service_account=spec.get("serviceAccountName", ""),
        has_identity_label=labels.get(_IDENTITY) == "true",
        created=metadata.get("creationTimestamp", ""),
        turned=conditions.get("Ready", {}).get("lastTransitionTime") or "",
        containers={each["name"]: _container(each, scope, healthy=healthy) for each in statuses},
    )


def _container(one: Document, scope: Scope, *, healthy: bool) -> Container:
    state = one.get("state", {})
    waiting = state.get("waiting", {})
    ended = state.get("terminated") or one.get("lastState", {}).get("terminated") or {}
    started = bool(ended) or "running" in state
    if healthy and not scope.covers(ended.get("finishedAt", "")):
        ended = {}
    return Container(
        ready=bool(one.get("ready")),
        started=started,
        restarts=one.get("restartCount", 0),
        waiting=waiting.get("reason", ""),
        message=waiting.get("message") or ended.get("message", ""),
        ended=ended.get("reason", ""),
        exit_code=ended.get("exitCode", 0),
        ended_at=ended.get("finishedAt") or "",
    )


def _is_done(one: Document, complete_jobs: Collection[str]) -> bool:
    """Tell whether a pod that failed was replaced by another: by its complete Job, or by a ReplicaSet."""
    owners = one["metadata"].get("ownerReferences", ())
    if any(each["kind"] == "Job" and each["name"] in complete_jobs for each in owners):
        return True
    failed = one.get("status", {}).get("phase") == "Failed"
    return failed and any(each["kind"] == "ReplicaSet" for each in owners)


def _is_settling(pod: Pod, warnings: Iterable[str]) -> bool:
    young = not pod.created or seconds_since(pod.created) < _SETTLING_SECONDS
    quiet = all(one.waiting in _USUAL_WAITING and not one.restarts for one in pod.containers.values())
    return young and quiet and not pod.message and all(one == _USUAL_WARNING for one in warnings)
