"""The running clusters behind managed clusters, by resource."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from rehearsal_cloud.home import free_ports

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.cloud_services import CloudServices
    from rehearsal_cloud.kubernetes.cluster import Cluster


class Clusters:
    """Creates, starts, stops and destroys clusters; every method is idempotent."""

    def __init__(self) -> None:
        self._running: dict[str, Cluster] = {}

    def of(self, document_id: str) -> Cluster | None:
        """Return the running cluster of a managed cluster, or None."""
        return self._running.get(document_id.lower())

    async def make(self, cloud: CloudServices, document: Document) -> None:
        """Run or stop the cluster as the document says; it keeps its port."""
        document["_secret"].setdefault("port", free_ports(1)[0])
        if document["properties"]["powerState"]["code"] != "Running":
            await self.stop(document)
        elif running := self.of(document["id"]):
            cloud.keep(document)
            running.refresh()
        else:
            await self.start(cloud, document)

    async def start(self, cloud: CloudServices, document: Document) -> None:
        """Start the cluster again, unless its owner stopped it."""
        if document["properties"]["powerState"]["code"] == "Running" and self.of(document["id"]) is None:
            cluster = await _made(cloud, document)
            self._running[document["id"].lower()] = cluster
            await cluster.start()

    async def stop(self, document: Document) -> None:
        """Stop the cluster; its content stays."""
        cluster = self._running.pop(document["id"].lower(), None)
        if cluster is not None:
            await cluster.stop()

    async def destroy(self, cloud: CloudServices, document: Document) -> None:
        """Stop the cluster and remove its data."""
        cluster = self._running.pop(document["id"].lower(), None) or await _made(cloud, document)
        await cluster.destroy()


async def _made(cloud: CloudServices, document: Document) -> Cluster:
    # Imported for the first cluster, in a thread: it takes most of a second.
    module = await asyncio.to_thread(import_module, "rehearsal_cloud.kubernetes.cluster")
    cluster: Cluster = module.Cluster(cloud, document)
    return cluster
