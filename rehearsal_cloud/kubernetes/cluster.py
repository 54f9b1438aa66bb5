"""A managed cluster: the API, the controllers and the node behind Resource Manager's resource."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rehearsal_cloud.backends.ports import listen
from rehearsal_cloud.backends.processes import remove
from rehearsal_cloud.kubernetes import controller_manager, pool_nodes
from rehearsal_cloud.kubernetes.api.admission import admit, review
from rehearsal_cloud.kubernetes.api.endpoint import Endpoint
from rehearsal_cloud.kubernetes.api.server import Api
from rehearsal_cloud.kubernetes.auth.access import Access
from rehearsal_cloud.kubernetes.bootstrap import bootstrap
from rehearsal_cloud.kubernetes.controllers.pool_upgrades import upgrade
from rehearsal_cloud.kubernetes.node import Node
from rehearsal_cloud.kubernetes.state import ClusterState

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.cloud_services import CloudServices
    from rehearsal_cloud.kubernetes.controller_manager import Controllers


class Cluster:
    """The backend of a managed cluster, in the rehearsal's process and event loop.

    The constructor opens its objects; `start` starts the API, the node and the controllers. A stopped cluster is not
    started again: a new one replaces it.
    """

    def __init__(self, cloud: CloudServices, document: Document) -> None:
        self._document = document
        self.state = ClusterState(cloud, document, admit, review)
        self._access = Access(self.state)
        self._node = Node(self.state, self._access.tokens)
        self._log = cloud.home.request_log.open("a", buffering=1)
        api = Api(self.state, self._access, self._node.streams, self._log)
        self._endpoint = Endpoint(api, self.state.port, cloud.tls)
        self._controllers: Controllers | None = None

    async def start(self) -> None:
        """Serve the API, and start the controllers and the node, which continue with the stored objects."""
        await listen(self._document, self._endpoint, self.state.cloud.keep)
        self.state.port = self._endpoint.port
        self.refresh()
        self.state.objects.storage.forget_history()
        self._controllers = controller_manager.start(self.state)
        await self._node.start()

    def refresh(self) -> None:
        """Apply changes of the resource: its administrators, its add-ons, its pools."""
        bootstrap(self.state)
        self._access.prepare()

    def nodes(self, pool: str) -> list[str]:
        """Return the UIDs of a pool's nodes."""
        return [node["metadata"]["uid"] for node in pool_nodes.nodes_of(self.state, {"name": pool})]

    async def upgrade(self, pool: Document, reimaged: frozenset[str] = frozenset()) -> None:
        """Make a pool's nodes what the pool says, and those of these UIDs again. Raises ServiceError."""
        await upgrade(self.state, pool, reimaged)

    async def stop(self) -> None:
        """Stop the cluster; its state stays."""
        await self._endpoint.stop()
        if self._controllers is not None:
            await self._controllers.stop()
            await self._node.stop()
        self.state.objects.close()
        self._log.close()

    async def destroy(self) -> None:
        """Stop the cluster and remove its data."""
        await self.stop()
        await asyncio.to_thread(remove, self.state.folder)
