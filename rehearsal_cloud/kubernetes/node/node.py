"""The kubelet: runs the pods that are bound to the cluster's nodes.

One program plays all nodes of a cluster; the pods' events name their Node. Containers outlive
it: after a restart it continues with the containers that still run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from typing import TYPE_CHECKING

import psutil

from rehearsal_cloud.kubernetes.container_processes import container_processes
from rehearsal_cloud.kubernetes.node import memory, preemption
from rehearsal_cloud.kubernetes.node.health import Health
from rehearsal_cloud.kubernetes.node.machine import Machine
from rehearsal_cloud.kubernetes.node.pod import PodWorker
from rehearsal_cloud.kubernetes.node.runtime import runs
from rehearsal_cloud.kubernetes.node.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.auth.service_tokens import ServiceTokens
    from rehearsal_cloud.kubernetes.node.container import Container
    from rehearsal_cloud.kubernetes.node.runtime import Run
    from rehearsal_cloud.kubernetes.objects.objects import Subscription
    from rehearsal_cloud.kubernetes.state import ClusterState

_LOG = logging.getLogger(__name__)
_STOP_SECONDS = 8.0
_SOURCES = ("ConfigMap", "Secret", "SecretProviderClass", "PersistentVolumeClaim")


class Node:
    """The node of a cluster."""

    def __init__(self, cluster: ClusterState, tokens: ServiceTokens) -> None:
        self._machine = Machine(cluster, tokens)
        self._objects = cluster.objects
        self._workers: dict[str, PodWorker] = {}
        self.streams = Streams(self._machine, self._workers)
        self._health = Health(self._machine, lambda: list(self._workers.values()))
        self._going: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Continue the pods that are already here, and run the pods that get bound."""
        await self._machine.secrets_store.start()
        bound = {pod["metadata"]["uid"] for pod in self._objects.list("Pod") if self._is_bound(pod)}
        await self._forget_all_but(bound)
        subscription = self._objects.subscribe("Pod", "Node", *_SOURCES)
        for pod in self._objects.list("Pod"):
            self._see(pod)
        self._tasks = [
            asyncio.create_task(self._machine.network.run()),
            asyncio.create_task(memory.watch(self._containers)),
            asyncio.create_task(self._watch(subscription)),
            asyncio.create_task(self._health.watch()),
            asyncio.create_task(preemption.watch(self._machine.cluster)),
            asyncio.create_task(self._health.renew()),
        ]

    async def stop(self) -> None:
        """End all containers, like a machine that shuts down; the next start runs their pods again."""
        await self._machine.secrets_store.stop()
        tasks = [*self._tasks, *self._going.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        running = [run for run in self._runs() if run.alive()]
        await asyncio.gather(*(run.stop(_STOP_SECONDS) for run in running))
        await self._kill(self._machine.pods_folder)
        self._workers.clear()
        self._going.clear()
        self._tasks.clear()

    def _runs(self) -> Iterator[Run]:
        for folder in self._machine.pods_folder.glob("*/containers/*"):
            yield from runs(folder)

    def _containers(self) -> list[Container]:
        return [container for worker in self._workers.values() for container in worker.containers]

    async def _forget_all_but(self, uids: set[str]) -> None:
        """Remove the remains of pods that were deleted in the meantime."""
        for folder in self._machine.pods_folder.iterdir():
            if folder.name not in uids:
                await self._kill(folder)
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._machine.network.keep(uids)

    @staticmethod
    async def _kill(folder: Path) -> None:
        for process in await asyncio.to_thread(container_processes, folder):
            with contextlib.suppress(psutil.Error):
                process.kill()

    async def _watch(self, subscription: Subscription) -> None:
        try:
            async for event in subscription:
                if event.document["kind"] == "Pod":
                    self._see(event.document, deleted=event.type == "DELETED")
                elif event.document["kind"] == "Node":
                    if event.type == "DELETED":
                        await self._lose(event.document["metadata"]["name"])
                else:
                    for worker in self._workers.values():
                        if worker.pod["metadata"]["namespace"] == event.document["metadata"]["namespace"]:
                            worker.sandbox.wake()
        finally:
            subscription.close()

    async def _lose(self, node: str) -> None:
        """Kill what runs on a machine that is gone; the pod garbage collector removes its pods."""
        for worker in [each for each in self._workers.values() if each.pod["spec"]["nodeName"] == node]:
            worker.lose()
            await self._kill(worker.sandbox.folder)

    def _see(self, pod: Document, *, deleted: bool = False) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod, deleted=deleted)
        elif self._is_bound(pod) and not deleted:
            self._workers[uid] = PodWorker(self._machine, pod)
            self._going[uid] = asyncio.create_task(self._keep(uid), name=f"pod {pod['metadata']['name']}")

    def _is_bound(self, pod: Document) -> bool:
        """Tell whether the pod is bound to an existing node."""
        node = pod["spec"].get("nodeName")
        return bool(node) and self._objects.get("Node", node) is not None

    async def _keep(self, uid: str) -> None:
        worker = self._workers[uid]
        try:
            await worker.go()
        except Exception:  # noqa: BLE001 - whatever it was, the other pods are kept
            _LOG.exception("pod %s is kept no longer", worker.sandbox.pod_name)
        self._workers.pop(uid, None)
        self._going.pop(uid, None)
