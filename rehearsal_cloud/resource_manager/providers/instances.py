"""The instances behind a provider's resources: a server with its front, created and deleted with the resource."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from rehearsal_cloud.backends.ports import listen

if TYPE_CHECKING:
    from rehearsal_cloud.backends.processes import Server
    from rehearsal_cloud.backends.tls import TlsTerminator
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud


class Instance(Protocol):
    """The server behind a resource, and its front."""

    @property
    def server(self) -> Server:
        """The server, which outlives the rehearsal's process."""

    @property
    def terminator(self) -> TlsTerminator:
        """The listener that clients connect to."""


_Instance = TypeVar("_Instance", bound=Instance)


class Instances(ABC, Generic[_Instance]):
    """The running instances, by the lower-case ID of their resource."""

    def __init__(self) -> None:
        self._running: dict[str, _Instance] = {}

    @abstractmethod
    def _describe(self, cloud: Cloud, document: Document) -> _Instance:
        """Return the instance of a resource; its server need not exist yet."""

    async def start(self, cloud: Cloud, document: Document) -> None:
        """Start the instance again, adopting a running server."""
        instance = self._instance(cloud, document)
        if instance.server.workplace.is_dir():
            await instance.server.start()
            await self._open(cloud, document, instance)

    async def stop(self, cloud: Cloud, document: Document) -> None:
        """Stop the instance; its data stays."""
        instance = self._instance(cloud, document)
        self._running.pop(document["id"].lower(), None)
        await instance.terminator.stop()
        await instance.server.stop()

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Stop the instance and remove its data. It is idempotent."""
        instance = self._instance(cloud, document)
        self._running.pop(document["id"].lower(), None)
        await instance.terminator.stop()
        await instance.server.destroy()

    async def _open(self, cloud: Cloud, document: Document, instance: _Instance) -> None:
        if document["id"].lower() not in self._running:
            await listen(document, instance.terminator, cloud.keep)
            self._running[document["id"].lower()] = instance

    def _instance(self, cloud: Cloud, document: Document) -> _Instance:
        return self._running.get(document["id"].lower()) or self._describe(cloud, document)
