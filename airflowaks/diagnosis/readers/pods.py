"""Reads pods as healthy, settling or unhealthy, and the logs of the unhealthy ones."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from airflowaks.diagnosis.facts.kubernetes import Container, Pod
from airflowaks.diagnosis.readers.scope import component_of
from airflowaks.engine.times import parse_time, seconds_since, timestamp
from airflowaks.errors import KubernetesError
from airflowaks.kube.client import Reference
from airflowaks.kube.kubelet import read_log
from airflowaks.kube.pods import conditions, is_ready

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.kube.client import Document, Kube

Warnings = dict[str, list[str]]
"""The reasons of the warnings about each pod."""

_IDENTITY = "azure.workload.identity/use"
_SETTLING_SECONDS = 180.0
# Normal while a pod starts.
_NORMAL_WAITING = ("", "ContainerCreating", "PodInitializing")
_NORMAL_WARNING = "Unhealthy"
# A pod may log the cause before it becomes unready: a probe fails several times first.
_BEFORE_UNREADY = timedelta(minutes=5)
_ASKS = ("nodeSelector", "affinity", "tolerations")
_MOST_PODS, _LINES, _LONGEST_LOG = 20, 200, 65_536
_OF_EACH_COMPONENT, _THREADS = 3, 8


class Running(NamedTuple):
    """The pods by name, and the number of settling pods by component."""

    pods: dict[str, Pod]
    settling: Mapping[str, int]


def pods(documents: Iterable[Document], scope: Scope, warned: Warnings, complete_jobs: Collection[str]) -> Running:
    """Return the pods that are not terminating. A failed attempt of a complete Job counts as healthy."""
    read: dict[str, Pod] = {}
    settling: Counter[str] = Counter()
    for document in documents:
        metadata = document["metadata"]
        if "deletionTimestamp" in metadata:
            continue
        pod = _pod(document, scope)
        if not pod.healthy and _is_replaced(document, complete_jobs):
            pod = replace(pod, healthy=True)
        elif not pod.healthy and _is_settling(pod, warned.get(metadata["name"], ())):
            pod = replace(pod, healthy=True, settling=True)
            settling[pod.component] += 1
        read[metadata["name"]] = pod
    return Running(read, settling)


def with_logs(kube: Kube, scope: Scope, pods: Mapping[str, Pod], suspects: Collection[str]) -> dict[str, Pod]:
    """Return the newest unhealthy pods, at most twenty, with the ends of their logs.

    One healthy pod of each component in `suspects` is included. Only recent lines count as evidence: of a healthy pod
    those within the scope, of an unhealthy one those since five minutes before it became unhealthy. The log before a
    restart is read only if the container is not ready again.
    """
    newest = sorted(pods.items(), key=lambda item: item[1].created, reverse=True)
    counts: Counter[str] = Counter()
    selected: list[str] = []
    for name, pod in newest:
        limit = _OF_EACH_COMPONENT if not pod.healthy else int(pod.component in suspects)
        if counts[pod.component] < limit:
            counts[pod.component] += 1
            selected.append(name)
    del selected[_MOST_PODS:]
    with ThreadPoolExecutor(_THREADS) as pool:
        read = pool.map(lambda name: _with_logs(kube, scope, name, pods[name]), selected)
        return dict(zip(selected, read, strict=True))


def _with_logs(kube: Kube, scope: Scope, name: str, pod: Pod) -> Pod:
    reference = Reference("v1", "Pod", name, scope.namespace)
    since = scope.start if pod.healthy else _before(pod.turned)

    def tail(container: str, *, previous: bool) -> str:
        try:
            return read_log(kube, reference, container, lines=_LINES, previous=previous, since=since)[-_LONGEST_LOG:]
        except KubernetesError:
            return ""

    containers = {
        title: replace(
            container,
            log=tail(title, previous=False) if container.started else "",
            previous=tail(title, previous=True) if container.restarts and not container.ready else "",
        )
        for title, container in pod.containers.items()
    }
    return replace(pod, containers=containers)


def _before(turned: str) -> str:
    return timestamp(parse_time(turned) - _BEFORE_UNREADY) if turned else ""


def _pod(document: Document, scope: Scope) -> Pod:
    metadata, spec, status = document["metadata"], document["spec"], document.get("status", {})
    labels = metadata.get("labels", {})
    healthy = status.get("phase") == "Succeeded" or is_ready(document)
    statuses = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    scheduled = conditions(document).get("PodScheduled", {})
    reason = scheduled if scheduled.get("status") == "False" else status
    return Pod(
        component=component_of(document),
        phase=status.get("phase", "Pending"),
        healthy=healthy,
        ip=status.get("podIP", ""),
        asks={} if spec.get("nodeName") else {part: spec[part] for part in _ASKS if spec.get(part)},
        reason=reason.get("reason", ""),
        message=reason.get("message", ""),
        node=spec.get("nodeName", ""),
        service_account=spec.get("serviceAccountName", ""),
        has_identity_label=labels.get(_IDENTITY) == "true",
        created=metadata.get("creationTimestamp", ""),
        turned=conditions(document).get("Ready", {}).get("lastTransitionTime") or "",
        image=next((each.get("image", "") for each in spec.get("containers", ())), ""),
        containers={each["name"]: _container(each, scope, healthy=healthy) for each in statuses},
    )


def _container(status: Document, scope: Scope, *, healthy: bool) -> Container:
    state = status.get("state", {})
    waiting = state.get("waiting", {})
    ended = state.get("terminated") or status.get("lastState", {}).get("terminated") or {}
    started = bool(ended) or "running" in state
    if healthy and not scope.covers(ended.get("finishedAt", "")):
        ended = {}
    return Container(
        ready=bool(status.get("ready")),
        started=started,
        restarts=status.get("restartCount", 0),
        waiting=waiting.get("reason", ""),
        message=waiting.get("message") or ended.get("message", ""),
        ended=ended.get("reason", ""),
        exit_code=ended.get("exitCode", 0),
        ended_at=ended.get("finishedAt") or "",
    )


def _is_replaced(document: Document, complete_jobs: Collection[str]) -> bool:
    """Tell whether another pod replaced a failed one: its Job is complete, or a ReplicaSet owns it."""
    owners = document["metadata"].get("ownerReferences", ())
    if any(owner["kind"] == "Job" and owner["name"] in complete_jobs for owner in owners):
        return True
    failed = document.get("status", {}).get("phase") == "Failed"
    return failed and any(owner["kind"] == "ReplicaSet" for owner in owners)


def _is_settling(pod: Pod, warnings: Iterable[str]) -> bool:
    young = not pod.created or seconds_since(pod.created) < _SETTLING_SECONDS
    quiet = all(each.waiting in _NORMAL_WAITING and not each.restarts for each in pod.containers.values())
    return young and quiet and not pod.message and all(reason == _NORMAL_WARNING for reason in warnings)
