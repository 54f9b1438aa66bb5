"""One managed cluster: its API, its controllers and its node, behind the resource that Resource Manager shows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rehearsal_cloud.backends.ports import listen
from rehearsal_cloud.backends.processes import remove
from rehearsal_cloud.kubernetes import controllers
from rehearsal_cloud.kubernetes.addons.secrets_store import SecretsStore
from rehearsal_cloud.kubernetes.api.endpoint import Endpoint
from rehearsal_cloud.kubernetes.api.server import Api
from rehearsal_cloud.kubernetes.auth.access import Access
from rehearsal_cloud.kubernetes.bootstrap import bootstrap
from rehearsal_cloud.kubernetes.node import Node
from rehearsal_cloud.kubernetes.objects.admission import admit
from rehearsal_cloud.kubernetes.objects.kinds import Kinds
from rehearsal_cloud.kubernetes.objects.objects import Objects
from rehearsal_cloud.kubernetes.objects.schema import Schemas
from rehearsal_cloud.kubernetes.objects.service_addresses import allocate
from rehearsal_cloud.kubernetes.recorder import Recorder

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers import Controllers
    from rehearsal_cloud.resource_manager.cloud import Cloud

_SERVICES = "10.0.0.0/16"


class Cluster:
    """What runs behind one managed cluster, in the rehearsal's own process and event loop.

    It is made with its objects; `start` has it served, run and controlled. One that has been stopped is not started
    again: another is made in its place.
    """

    def __init__(self, cloud: Cloud, document: Document) -> None:
        self.cloud = cloud
        self._document = document
        self.folder = cloud.home.services / f"kubernetes-{document['properties']['resourceUID']}"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        properties = document["properties"]
        self.issuer: str = properties["oidcIssuerProfile"].get("issuerURL") or f"https://{properties['fqdn']}"
        self.kinds = Kinds()
        self.schemas = Schemas()
        self.objects = Objects(self.folder / "objects.sqlite", self.kinds, self.schemas, self._admitted)
        self.recorder = Recorder(self.objects)
        self.access = Access(self)
        self.secrets_store = SecretsStore(self)
        self.node = Node(self)
        self._log = cloud.home.request_log.open("a", buffering=1)
        self._endpoint = Endpoint(Api(self, self._log), document["_secret"].get("port", 0), cloud.tls)
        self._controllers: Controllers | None = None

    @property
    def document(self) -> Document:
        """Return the managed cluster's resource as it is now."""
        return self.cloud.store.get("resources", self._document["id"].lower()) or self._document

    @property
    def port(self) -> int:
        """Return the loopback port of the API."""
        return self._endpoint.port

    @property
    def version(self) -> str:
        """Return the Kubernetes version: `1.35.1`."""
        version: str = self.document["properties"]["currentKubernetesVersion"]
        return version

    def _admitted(self, document: Document, old: Document | None) -> Document:
        admitted = admit(self, document, old)
        if admitted["kind"] != "Service":
            return admitted
        network = self.document["properties"].get("networkProfile") or {}
        return allocate(self.objects, admitted, old, network.get("serviceCidr") or _SERVICES)

    async def start(self) -> None:
        """Serve the API, start the controllers and the node, and take up again what was there."""
        await listen(self._document, self._endpoint, self.cloud.keep)
        self.refresh()
        self.objects.storage.forget_history()
        self._controllers = controllers.start(self)
        await self.secrets_store.start()
        await self.node.start()

    def refresh(self) -> None:
        """Take in what changed of the resource: its administrators, its add-ons, its pools."""
        self._document = self.document
        bootstrap(self)
        self.access.prepare()

    async def stop(self) -> None:
        """Stop all of it; nothing is forgotten."""
        await self._endpoint.stop()
        if self._controllers is not None:
            await self._controllers.stop()
            await self.node.stop()
            await self.secrets_store.stop()
        self.objects.close()
        self._log.close()

    async def destroy(self) -> None:
        """Stop all of it and remove all that it had."""
        await self.stop()
        await asyncio.to_thread(remove, self.folder)
