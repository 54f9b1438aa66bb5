"""From where a service is called: all programs are on this machine, and pods leave their cluster by its addresses."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from rehearsal_cloud.backends.peers import owner
from rehearsal_cloud.kubernetes.container_processes import container_of
from rehearsal_cloud.resource_manager.resource_groups import SUBSCRIPTION
from rehearsal_cloud.resource_manager.resource_types import find

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

_CLUSTERS = "Microsoft.ContainerService/managedClusters"


async def outbound_addresses(cloud: Cloud, client: tuple[str, int], server: tuple[str, int]) -> list[str]:
    """Return the outbound addresses of the cluster that has the connection's client; none if no cluster has it.

    A pod's process descends from a container's shim. What this process itself connects to is for KEDA, whose pods on
    AKS are in the cluster: then it is any cluster's.
    """
    pid = await asyncio.to_thread(owner, client, server)
    folder = await asyncio.to_thread(container_of, pid) if pid is not None else None
    if folder is None and pid != os.getpid():
        return []
    clusters = [resource for resource in cloud.resources(SUBSCRIPTION) if resource["type"] == _CLUSTERS]
    if folder is not None:
        clusters = [cluster for cluster in clusters if f"kubernetes-{_uid(cluster)}" in folder.parts]
    paths = [
        address["id"]
        for cluster in clusters
        for address in find(cluster, "properties.networkProfile.loadBalancerProfile.effectiveOutboundIPs") or []
    ]
    addresses = (cloud.store.get("resources", path.lower()) for path in paths)
    return [address["properties"]["ipAddress"] for address in addresses if address is not None]


def _uid(cluster: Document) -> str:
    return str(cluster["properties"].get("resourceUID"))
