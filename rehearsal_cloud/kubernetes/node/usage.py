"""What containers use of CPU and memory, as metrics-server serves it for `kubectl top`; AKS has one in each cluster.

https://github.com/kubernetes-sigs/metrics-server, pkg/api and pkg/storage: it knows pods whose containers all have been
measured twice, CPU over the window between, in nanocores. Here each request measures, over a window that is short.
https://learn.microsoft.com/azure/aks/use-metrics-server-vertical-pod-autoscaler
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import psutil

from rehearsal_cloud.kubernetes.container_processes import descendants
from rehearsal_cloud.kubernetes.objects.lifecycle import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.container import Container
    from rehearsal_cloud.kubernetes.node.pod import PodWorker

VERSION = "metrics.k8s.io/v1beta1"
_WINDOW_SECONDS = 0.2
_NANO, _KIBIBYTE = 10**9, 1024


class _Usage(NamedTuple):
    """The CPU seconds that processes have used, and their memory in bytes."""

    seconds: float
    bytes: int


async def pods(workers: Sequence[PodWorker]) -> list[Document]:
    """Return the PodMetrics of those pods whose containers all run."""
    return [metrics for metrics, _ in await _measured(workers)]


async def _measured(workers: Sequence[PodWorker]) -> list[tuple[Document, str]]:
    """Return the PodMetrics, each with the name of its node."""
    measured = [worker for worker in workers if all(map(_runs, worker.apps))]
    roots = {
        (worker.sandbox.uid, container.name): container.run.pid
        for worker in measured
        for container in (*worker.apps, *worker.ephemerals)
        if container.run is not None and _runs(container)
    }
    started, before = time.monotonic(), await asyncio.to_thread(_used, roots)
    await asyncio.sleep(_WINDOW_SECONDS)
    after = await asyncio.to_thread(_used, roots)
    window = time.monotonic() - started
    containers: dict[str, list[Document]] = {worker.sandbox.uid: [] for worker in measured}
    for (uid, name), usage in after.items():
        containers[uid].append({"name": name, "usage": _quantities(before[uid, name], usage, window)})
    return [
        (
            {**_document("PodMetrics", worker.pod, window), "containers": containers[worker.sandbox.uid]},
            worker.pod["spec"]["nodeName"],
        )
        for worker in measured
    ]


async def nodes(workers: Sequence[PodWorker], documents: Sequence[Document]) -> list[Document]:
    """Return the NodeMetrics of nodes: what their pods use."""
    containers: dict[str, list[Document]] = defaultdict(list)
    for metrics, node in await _measured(workers):
        containers[node] += metrics["containers"]
    return [
        {
            **_document("NodeMetrics", document, _WINDOW_SECONDS),
            "usage": _total(containers[document["metadata"]["name"]]),
        }
        for document in documents
    ]


def _runs(container: Container) -> bool:
    return container.run is not None and container.run.alive()


def _used(roots: dict[tuple[str, str], int]) -> dict[tuple[str, str], _Usage]:
    by_pid = {process.pid: process for process in psutil.process_iter(["ppid", "cpu_times", "memory_info"])}
    parents = {pid: process.info["ppid"] for pid, process in by_pid.items()}
    return {
        key: _sum([by_pid[pid] for pid in descendants({root}, parents) & parents.keys()]) for key, root in roots.items()
    }


def _sum(processes: Sequence[psutil.Process]) -> _Usage:
    known = [process.info for process in processes if process.info["cpu_times"] and process.info["memory_info"]]
    seconds = sum(info["cpu_times"].user + info["cpu_times"].system for info in known)
    return _Usage(seconds, sum(info["memory_info"].rss for info in known))


def _quantities(before: _Usage, after: _Usage, window: float) -> dict[str, str]:
    nanocores = max(0.0, after.seconds - before.seconds) / window * _NANO
    return {"cpu": f"{nanocores:.0f}n", "memory": f"{after.bytes // _KIBIBYTE}Ki"}


def _total(containers: Sequence[Document]) -> dict[str, str]:
    cpu = sum(int(container["usage"]["cpu"].removesuffix("n")) for container in containers)
    memory = sum(int(container["usage"]["memory"].removesuffix("Ki")) for container in containers)
    return {"cpu": f"{cpu}n", "memory": f"{memory}Ki"}


def _document(kind: str, about: Document, window: float) -> Document:
    kept = ("name", "namespace", "labels")
    metadata = {key: about["metadata"][key] for key in kept if about["metadata"].get(key)}
    return {
        "kind": kind,
        "apiVersion": VERSION,
        "metadata": {**metadata, "creationTimestamp": now()},
        "timestamp": now(),
        "window": f"{window:.3f}s",
    }
