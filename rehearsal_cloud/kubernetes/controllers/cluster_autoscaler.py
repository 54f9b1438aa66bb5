"""The cluster autoscaler: adds machines for pods that find no room, and removes machines that are little used.

Rules: https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md; the events' texts are those of
its source and of users' reports. Profile: https://learn.microsoft.com/azure/aks/cluster-autoscaler. It waits a second
for each minute of the profile at least. A pool may have no node until a pod selects its label:
https://learn.microsoft.com/azure/aks/scale-cluster. The real one also adds machines for pods that only cordons and
taints of present nodes keep away; then nobody would see for long what is wrong with these nodes.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes import pool_nodes
from rehearsal_cloud.kubernetes.controllers import node_fit, pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.drains import Undrained, empty, pods_on
from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of
from rehearsal_cloud.kubernetes.controllers.owners import controller_of
from rehearsal_cloud.kubernetes.durations import seconds
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event
    from rehearsal_cloud.kubernetes.state import ClusterState

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
"""The taint of a node that it empties. It does not cordon it: `cordon-node-before-terminating` is false."""
_MACHINE_SECONDS = 90.0
_ALL: Key = ("",)


class ClusterAutoscaler(Controller):
    """Keeps the pools that scale as large as their pods need them, between their minimum and their maximum."""

    component = "cluster-autoscaler"
    watches: ClassVar[tuple[str, ...]] = ("Pod", "Node")

    def __init__(self, cluster: ClusterState) -> None:
        super().__init__(cluster)
        self._unneeded: dict[str, float] = {}
        self._added = -float("inf")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the one key: a pod finds no room, a pod is gone, or nodes change."""
        document = event.document
        if document["kind"] == "Node" or event.type == "DELETED" or not document["spec"].get("nodeName"):
            yield _ALL

    async def reconcile(self, key: Key) -> float | None:
        """Add the machines that pods wait for, or remove one that has been unneeded for long enough."""
        del key
        resource = self.cluster.document
        profile = resource["properties"].get("autoScalerProfile")
        pools = [pool for pool in resource["properties"]["agentPoolProfiles"] if pool.get("enableAutoScaling")]
        if not profile or not pools:
            return None
        if {resource["_state"], *(pool["provisioningState"] for pool in pools)} - {"Succeeded", "Failed"}:
            return self._waited("10s")
        for pool in pools:
            await self._add(pool)
        return await self._remove(pools, profile)

    def _waited(self, duration: str) -> float:
        return self.cluster.cloud.settings.waited(seconds(duration))

    # More

    async def _add(self, pool: Document) -> None:
        """Add as many machines of a pool as take the pods that wait for room."""
        template, count = pool_nodes.template(self.cluster, pool), pool["count"]
        nodes, placed = self.objects.list("Node"), self._placed()
        waiting = _without_room([pod for pod in self.objects.list("Pod") if _waits_for_room(pod)], nodes, placed)
        while len(left := _without_room(waiting, [template], [])) < len(waiting):
            fitting = [pod for pod in waiting if pod not in left]
            if count >= pool["maxCount"]:
                for pod in fitting:
                    self.recorder.normal(
                        pod, "NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached"
                    )
                return
            group = template["metadata"]["name"].rpartition("vmss")[0] + "vmss"
            for pod in fitting:
                text = f"pod triggered scale-up: [{{{group} {count}->{count + 1} (max: {pool['maxCount']})}}]"
                self.recorder.normal(pod, "TriggeredScaleUp", text)
            count += 1
            pool_nodes.resize(self.cluster, pool, count)
            await asyncio.sleep(self.cluster.cloud.settings.scaled(_MACHINE_SECONDS))
            pool_nodes.add(self.cluster, pool)
            self._added = time.monotonic()
            waiting = left

    # Less

    async def _remove(self, pools: list[Document], profile: Document) -> float | None:
        """Remove the node that has been unneeded for longest; return when to look again, if any is unneeded."""
        now, unneeded = time.monotonic(), self._candidates(pools, float(profile["scale-down-utilization-threshold"]))
        self._unneeded = {name: self._unneeded.get(name, now) for name in unneeded}
        if not unneeded:
            return None
        name, since = min(self._unneeded.items(), key=lambda item: item[1])
        due = max(
            since + self._waited(profile["scale-down-unneeded-time"]),
            self._added + self._waited(profile["scale-down-delay-after-add"]),
        )
        if now < due:
            return due - now
        pool = unneeded[name]
        await self._take_away(name, pool, int(profile["max-graceful-termination-sec"]))
        return self._waited(profile["scale-down-delay-after-delete"])

    async def _take_away(self, name: str, pool: Document, grace: int) -> None:
        node = self.objects.get("Node", name)
        if node is None:
            return
        self._taint(name, {"key": _TO_BE_DELETED, "value": str(int(time.time())), "effect": "NoSchedule"})
        self.recorder.normal(node, "ScaleDown", "marked the node as toBeDeleted/unschedulable")
        try:
            await empty(self.cluster, name, self.cluster.cloud.settings.waited(grace))
        except Undrained as undrained:
            self.recorder.warning(node, "ScaleDownFailed", f"failed to drain the node: {undrained}")
            self._taint(name)
            return
        self.recorder.normal(node, "ScaleDown", "node removed by cluster autoscaler")
        pool_nodes.remove(self.cluster, name)
        pool_nodes.resize(self.cluster, pool, pool["count"] - 1)

    def _taint(self, name: str, *added: Document) -> None:
        """Set the autoscaler's taint on a node, or remove it; `kubectl uncordon` leaves it."""
        node = self.objects.get("Node", name)
        if node is not None:
            kept = [taint for taint in node["spec"].get("taints") or () if taint["key"] != _TO_BE_DELETED]
            self.objects.update({**node, "spec": {**node["spec"], "taints": [*kept, *added]}})

    def _candidates(self, pools: list[Document], threshold: float) -> dict[str, Document]:
        """Return the pools of the nodes that are little used and whose pods may go and find room elsewhere."""
        nodes, placed = self.objects.list("Node"), self._placed()
        candidates = {}
        for pool in (pool for pool in pools if pool["count"] > pool["minCount"]):
            for node in pool_nodes.nodes_of(self.cluster, pool):
                name = node["metadata"]["name"]
                here = pods_on(self.cluster, name)
                others = [each for each in nodes if each["metadata"]["name"] != name]
                elsewhere = [pod for pod in placed if pod["spec"]["nodeName"] != name]
                if _used(here, node) < threshold and all(map(_may_go, here)):
                    free = [_on(pod, "") for pod in here]
                    if not _without_room(free, others, elsewhere):
                        candidates[name] = pool
        return candidates

    def _placed(self) -> list[Document]:
        return [pod for pod in self.objects.list("Pod") if pod["spec"].get("nodeName") and not pods.is_done(pod)]


def _waits_for_room(pod: Document) -> bool:
    message = (pods.condition(pod, "PodScheduled") or {}).get("message", "")
    return (
        not pod["spec"].get("nodeName")
        and not pods.is_terminating(pod)
        and any(reason in message for reason in ("Insufficient", node_fit.AFFINITY))
    )


def _without_room(candidates: list[Document], nodes: list[Document], placed: list[Document]) -> list[Document]:
    """Return the pods that no node takes beside those that are placed, once the others of them are."""
    placed, left = list(placed), []
    for pod in candidates:
        target = next((node for node in nodes if not node_fit.reasons(pod, node, placed, nodes)), None)
        if target is None:
            left.append(pod)
        else:
            placed.append(_on(pod, target["metadata"]["name"]))
    return left


def _on(pod: Document, node: str) -> Document:
    return {**pod, "spec": {**pod["spec"], "nodeName": node}}


def _used(here: list[Document], node: Document) -> float:
    """Return the larger of the shares of processors and memory that pods request."""
    allocatable = node["status"]["allocatable"]
    requested = [node_fit.resources(pod) for pod in here]
    return max(
        float(sum(pod.get(name, amount("0")) for pod in requested) / amount(allocatable[name]))
        for name in ("cpu", "memory")
    )


def _may_go(pod: Document) -> bool:
    """Tell whether a pod may be evicted for a smaller pool: a controller makes it again, and nobody forbids it."""
    safe = annotations_of(pod).get(SAFE_TO_EVICT)
    return safe == "true" or (safe != "false" and controller_of(pod) is not None and not pods.is_terminating(pod))
