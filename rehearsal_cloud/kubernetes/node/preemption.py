"""Machines that Azure takes back: half a minute's notice, in which AKS drains the node as well as it can, and the end.

https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events (Preempt) and
https://learn.microsoft.com/azure/aks/node-auto-drain; the event's words are believed. The seconds are not scaled: real
programs end in them.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes import pool_nodes
from rehearsal_cloud.kubernetes.controllers.drains import Undrained, drain
from rehearsal_cloud.kubernetes.recorder import Recorder

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.state import ClusterState

_NOTICE_SECONDS = 30.0


async def watch(cluster: ClusterState) -> None:
    """Take the machines that a breakdown `preempt` names, until cancelled."""
    faults = cluster.cloud.faults
    while True:
        changed, preempt = faults.changed, faults.breakdown("preempt")
        if preempt is not None:
            nodes = [node for node in cluster.objects.list("Node") if re.fullmatch(preempt.name, _name(node))]
            await asyncio.gather(*(_take(cluster, node) for node in nodes))
        await changed.wait()


async def _take(cluster: ClusterState, node: Document) -> None:
    """Give notice, drain, and remove the machine; its pool has one less."""
    text = "A scheduled event of the type Preempt: Azure takes this machine back"
    Recorder(cluster.objects, "node-problem-detector").warning(node, "PreemptScheduled", text)
    with contextlib.suppress(Undrained):
        await drain(cluster, _name(node), _NOTICE_SECONDS)
    pool_nodes.remove(cluster, _name(node))
    for pool in cluster.document["properties"]["agentPoolProfiles"]:
        if pool["name"] == pool_nodes.pool_of(node):
            pool_nodes.resize(cluster, pool, len(pool_nodes.nodes_of(cluster, pool)))


def _name(node: Document) -> str:
    return str(node["metadata"]["name"])
