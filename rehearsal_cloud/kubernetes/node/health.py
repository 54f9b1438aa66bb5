"""The health of a cluster's nodes: their conditions, and the control plane's reaction to silent ones.

After https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller and
https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction; pods of a silent node are not moved
to another node: that takes five minutes, which no time scale shortens.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.lifecycle import now
from rehearsal_cloud.kubernetes.pool_nodes import WELL
from rehearsal_cloud.kubernetes.quantities import amount
from rehearsal_cloud.kubernetes.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.machine import Machine
    from rehearsal_cloud.kubernetes.node.pod import PodWorker

_SILENT = tuple((kind, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.") for kind, *_ in WELL)
_FULL = tuple(
    (kind, "True", "KubeletHasDiskPressure", "kubelet has disk pressure") if kind == "DiskPressure" else (kind, *rest)
    for kind, *rest in WELL
)
_UNREACHABLE, _DISK_PRESSURE = "node.kubernetes.io/unreachable", "node.kubernetes.io/disk-pressure"
_STORAGE = "ephemeral-storage"
_LEAST_FREE = 10
"""A machine is short of disk where less than a tenth of it is free."""
_KIBIBYTE = 1024
_LEASES, _RENEWAL_SECONDS = "kube-node-lease", 10


class Health:
    """Keeps the conditions and taints of a cluster's nodes, and evicts the pods that fill their disks."""

    def __init__(self, machine: Machine, workers: Callable[[], Sequence[PodWorker]]) -> None:
        self._machine = machine
        self._workers = workers
        self._objects = machine.cluster.objects
        self._faults = machine.cluster.cloud.faults
        self._controller = Recorder(machine.cluster.objects, "node-controller")

    async def renew(self) -> None:
        """Renew the nodes' leases by their clocks, until cancelled; the seconds are a kubelet's, and not scaled.

        https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
        """
        while True:
            changed = self._faults.changed
            if not self._machine.silent:
                for node in self._objects.list("Node"):
                    self._renew(node)
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), _RENEWAL_SECONDS)

    def _renew(self, node: Document) -> None:
        name = node["metadata"]["name"]
        wrong = self._faults.breakdown("clock", name)
        clock = datetime.now(UTC) + timedelta(seconds=wrong.seconds if wrong else 0)
        spec = {"holderIdentity": name, "leaseDurationSeconds": 4 * _RENEWAL_SECONDS}
        spec["renewTime"] = clock.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lease = self._objects.get("Lease", name, _LEASES)
        if lease is not None:
            self._objects.update({**lease, "spec": {**lease["spec"], **spec}}, manager="kubelet")
            return
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
        metadata = {"name": name, "namespace": _LEASES, "ownerReferences": [owner]}
        document = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        self._objects.create(document, manager="kubelet")

    async def watch(self) -> None:
        """Report the nodes' conditions at once and after each change of faults, until cancelled."""
        while True:
            changed = self._faults.changed
            full = self._faults.breakdown("disk")
            for node in self._objects.list("Node"):
                self._report(node, full=full is not None)
            if full is not None:
                filling = [worker for worker in self._workers() if re.search(full.name, worker.pod["metadata"]["name"])]
                await asyncio.gather(*(self._evict(worker) for worker in filling))
            await changed.wait()

    def _report(self, node: Document, *, full: bool) -> None:
        taints: dict[str, tuple[str, ...]] = {_UNREACHABLE: ("NoSchedule", "NoExecute")} if self._machine.silent else {}
        taints |= {_DISK_PRESSURE: ("NoSchedule",)} if full else {}
        target = _SILENT if self._machine.silent else _FULL if full else WELL
        before = {condition["type"]: condition for condition in (node.get("status") or {}).get("conditions") or []}
        if [(kind, before.get(kind, {}).get("status")) for kind, *_ in target] == [row[:2] for row in target]:
            return
        conditions = [_condition(before.get(kind, {}), kind, *rest) for kind, *rest in target]
        updated = self._objects.update_status({**node, "status": {**node["status"], "conditions": conditions}})
        kept = [
            taint for taint in updated["spec"].get("taints") or [] if taint["key"] not in (_UNREACHABLE, _DISK_PRESSURE)
        ]
        added = [
            {"key": key, "effect": effect, "timeAdded": now()} for key, effects in taints.items() for effect in effects
        ]
        self._objects.update({**updated, "spec": {**updated["spec"], "taints": [*kept, *added]}})
        self._publish_pods(updated)

    def _publish_pods(self, node: Document) -> None:
        """Update the pods' status: the pods of a silent node are not ready."""
        if not self._machine.silent:
            for worker in self._workers():
                worker.publish()
            return
        name = node["metadata"]["name"]
        self._controller.normal(node, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        for pod in self._objects.list("Pod"):
            if pod["spec"].get("nodeName") == name and (pod.get("status") or {}).get("conditions"):
                self._objects.update_status({**pod, "status": {**pod["status"], "conditions": _unready(pod)}})
                self._controller.warning(pod, "NodeNotReady", "Node is not ready")

    async def _evict(self, worker: PodWorker) -> None:
        node = self._objects.get("Node", worker.pod["spec"]["nodeName"])
        if node is None:
            return
        threshold = int(amount(node["status"]["capacity"][_STORAGE])) // _LEAST_FREE // _KIBIBYTE
        lines = [f"The node was low on resource: {_STORAGE}. Threshold quantity: {threshold}Ki, available: 0. "]
        for container in worker.pod["spec"]["containers"]:
            used = await asyncio.to_thread(_kibibytes, worker.sandbox.folder / "containers" / container["name"])
            lines.append(f"Container {container['name']} was using {used}Ki, request is 0, has larger consumption of")
            lines.append(f" {_STORAGE}. ")
        recorder = Recorder(self._objects, "kubelet", node["metadata"]["name"])
        recorder.warning(node, "EvictionThresholdMet", f"Attempting to reclaim {_STORAGE}")
        await worker.evict("".join(lines))


def _condition(before: Document, kind: str, state: str, reason: str, message: str) -> Document:
    since = before["lastTransitionTime"] if before.get("status") == state else now()
    heard = before.get("lastHeartbeatTime", now()) if state == "Unknown" else now()
    return {
        "type": kind,
        "status": state,
        "lastHeartbeatTime": heard,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }


def _unready(pod: Document) -> list[Document]:
    ready = {"status": "False", "lastTransitionTime": now()}
    return [
        condition | ready if condition["type"] == "Ready" else condition for condition in pod["status"]["conditions"]
    ]


def _kibibytes(folder: Path) -> int:
    used = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # the programs go on, and so do their files
                used += (Path(place) / name).lstat().st_size
    return used // _KIBIBYTE
