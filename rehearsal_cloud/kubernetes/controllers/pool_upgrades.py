"""The roll of a pool's nodes to the pool's version, image and number, node by node, with surge nodes.

https://learn.microsoft.com/azure/aks/upgrade-aks-node-pools-rolling and .../upgrade-conceptual: surge nodes are added;
as many old nodes at once are cordoned, drained and reimaged; at the end the surge nodes are drained and deleted. A node
that cannot be drained becomes schedulable again, and the upgrade fails (`undrainableNodeBehavior` Schedule, the
default: managedClusters.json). An interrupted upgrade goes on when it is run again, with the surge nodes that exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.kubernetes import pool_nodes
from rehearsal_cloud.kubernetes.controllers.drains import Undrained, cordon, drain
from rehearsal_cloud.kubernetes.recorder import Recorder

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.state import ClusterState

_DRAIN_MINUTES = 30
"""How long a node's drain may take where the pool does not say it; it waits for PodDisruptionBudgets, too."""
_SLACK = 4
"""For how many seconds a drain waits for each minute at least: a worker starts in one here, as on Azure."""
_SURGE = "10%"
_MACHINE_SECONDS = 90.0


async def upgrade(cluster: ClusterState, pool: Document, reimaged: frozenset[str] = frozenset()) -> None:
    """Make a pool's nodes what the pool says, and those of the UIDs `reimaged` again. Raises ServiceError."""
    settings, recorder = pool.get("upgradeSettings") or {}, Recorder(cluster.objects, "upgrader")
    minutes = settings.get("drainTimeoutInMinutes") or _DRAIN_MINUTES
    seconds = _SLACK * cluster.cloud.settings.waited(minutes * 60)
    nodes = pool_nodes.nodes_of(cluster, pool)
    count = pool.get("count") or 0
    surge = nodes[count:]
    old = [node for node in nodes[:count] if pool_nodes.is_outdated(node, pool) or node["metadata"]["uid"] in reimaged]
    size = _of(settings.get("maxSurge") or _SURGE, count)
    for _ in range(len(surge), min(size, len(old))):
        surge.append(await _surged(cluster, pool, recorder))
    batch = max(1, size, _of(settings.get("maxUnavailable") or "0", count) if not size else 0)
    try:
        for begin in range(0, len(old), batch):
            replaced = [_replace(cluster, pool, node, seconds, recorder) for node in old[begin : begin + batch]]
            for failure in filter(None, await asyncio.gather(*replaced, return_exceptions=True)):
                raise failure
    finally:
        for node in surge:
            with contextlib.suppress(Undrained):  # deleted as well as it can be
                await drain(cluster, node["metadata"]["name"], seconds, recorder)
            pool_nodes.remove(cluster, node["metadata"]["name"])


async def _surged(cluster: ClusterState, pool: Document, recorder: Recorder) -> Document:
    await asyncio.sleep(cluster.cloud.settings.scaled(_MACHINE_SECONDS))
    node = pool_nodes.add(cluster, pool)
    name = node["metadata"]["name"]
    recorder.normal(node, "Surge", f"Created a surge node {name} for agentpool {pool['name']}")
    return node


async def _replace(cluster: ClusterState, pool: Document, node: Document, seconds: float, recorder: Recorder) -> None:
    name = node["metadata"]["name"]
    try:
        await drain(cluster, name, seconds, recorder)
    except Undrained as undrained:
        cordon(cluster, name, unschedulable=False)
        raise ServiceError(400, "UpgradeFailed", str(undrained)) from None
    await asyncio.sleep(cluster.cloud.settings.scaled(_MACHINE_SECONDS))
    reimaged = pool_nodes.reimage(cluster, pool, node)
    recorder.normal(reimaged, "Upgrade", f"Successfully reimaged node: {name}")


def _of(share: str, count: int) -> int:
    """Return a number of nodes, or a percentage of `count` rounded up."""
    return math.ceil(int(share[:-1]) * count / 100) if share.endswith("%") else int(share)
