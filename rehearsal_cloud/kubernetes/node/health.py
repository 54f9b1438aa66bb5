"""What a cluster's machines say of themselves, and what the control plane makes of their silence.

After https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller and
https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction; pods of a silent machine are not moved
elsewhere, which takes five minutes that no time scale shortens.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.bootstrap import WELL
from rehearsal_cloud.kubernetes.objects.lifecycle import now
from rehearsal_cloud.kubernetes.quantities import amount
from rehearsal_cloud.kubernetes.recorder import Recorder

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.node import Node
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


class Health:
    """Keeps the conditions and taints of one cluster's nodes, and evicts what fills their disks."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._objects = node.cluster.objects
        self._faults = node.cluster.cloud.faults
        self._controller = Recorder(node.cluster.objects, "node-controller")

    @property
    def silent(self) -> bool:
        """Tell whether the kubelet posts nothing."""
        return self._faults.breakdown("silence") is not None

    async def watch(self) -> None:
        """Report how the nodes are, now and whenever that may have changed, until cancelled."""
        while True:
            changed = self._faults.changed
            full = self._faults.breakdown("disk")
            for node in self._objects.list("Node"):
                self._report(node, full=full is not None)
            if full is not None:
                filling = [one for one in self._node.workers if re.search(full.name, one.pod["metadata"]["name"])]
                await asyncio.gather(*(self._evict(one) for one in filling))
            await changed.wait()

    def _report(self, node: Document, *, full: bool) -> None:
        taints: dict[str, tuple[str, ...]] = {_UNREACHABLE: ("NoSchedule", "NoExecute")} if self.silent else {}
        taints |= {_DISK_PRESSURE: ("NoSchedule",)} if full else {}
        wanted = _SILENT if self.silent else _FULL if full else WELL
        before = {one["type"]: one for one in (node.get("status") or {}).get("conditions") or []}
        if [(kind, before.get(kind, {}).get("status")) for kind, *_ in wanted] == [one[:2] for one in wanted]:
            return
        conditions = [_condition(before.get(kind, {}), kind, *rest) for kind, *rest in wanted]
        known = self._objects.update_status({**node, "status": {**node["status"], "conditions": conditions}})
        kept = [one for one in known["spec"].get("taints") or [] if one["key"] not in (_UNREACHABLE, _DISK_PRESSURE)]
        made = [
            {"key": key, "effect": effect, "timeAdded": now()} for key, effects in taints.items() for effect in effects
        ]
        self._objects.update({**known, "spec": {**known["spec"], "taints": [*kept, *made]}})
        self._tell(known)

    def _tell(self, node: Document) -> None:
        """Have the pods say what follows: those of a silent machine are ready for nobody."""
        if not self.silent:
            for worker in self._node.workers:
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
        said = [f"The node was low on resource: {_STORAGE}. Threshold quantity: {threshold}Ki, available: 0. "]
        for container in worker.pod["spec"]["containers"]:
            used = await asyncio.to_thread(_kibibytes, worker.sandbox.folder / "containers" / container["name"])
            said.append(f"Container {container['name']} was using {used}Ki, request is 0, has larger consumption of")
            said.append(f" {_STORAGE}. ")
        recorder = Recorder(self._objects, "kubelet", node["metadata"]["name"])
        recorder.warning(node, "EvictionThresholdMet", f"Attempting to reclaim {_STORAGE}")
        await worker.evict("".join(said))


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
    return [one | ready if one["type"] == "Ready" else one for one in pod["status"]["conditions"]]


def _kibibytes(folder: Path) -> int:
    used = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # the programs go on, and so do their files
                used += (Path(place) / name).lstat().st_size
    return used // _KIBIBYTE
