"""What runs behind a provider's resources: a server each and a way in to it, which come and go with the resource."""

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
    """The server behind one resource, and the way in to it."""

    @property
    def server(self) -> Server:
        """The server, which outlives the rehearsal."""

    @property
    def way_in(self) -> TlsTerminator:
        """What clients connect to."""


_Instance = TypeVar("_Instance", bound=Instance)


class Instances(ABC, Generic[_Instance]):
    """The instances that run, by the lower-case ID of their resource."""

    def __init__(self) -> None:
        self._running: dict[str, _Instance] = {}

    @abstractmethod
    def _describe(self, cloud: Cloud, document: Document) -> _Instance:
        """Return the instance of a resource; its server need not exist yet."""

    async def start(self, cloud: Cloud, document: Document) -> None:
        """Bring the instance back as it was, whether its server still runs or not."""
        instance = self._instance(cloud, document)
        if instance.server.workplace.is_dir():
            await instance.server.start()
            await self._open(cloud, document, instance)

    async def stop(self, cloud: Cloud, document: Document) -> None:
        """Stop the instance; its data stay."""
        instance = self._instance(cloud, document)
        self._running.pop(document["id"].lower(), None)
        await instance.way_in.stop()
        await instance.server.stop()

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Stop the instance and remove all that it had. May be run twice."""
        instance = self._instance(cloud, document)
        self._running.pop(document["id"].lower(), None)
        await instance.way_in.stop()
        await instance.server.destroy()

    async def _open(self, cloud: Cloud, document: Document, instance: _Instance) -> None:
        if document["id"].lower() not in self._running:
            await listen(document, instance.way_in, cloud.keep)
            self._running[document["id"].lower()] = instance

    def _instance(self, cloud: Cloud, document: Document) -> _Instance:
        return self._running.get(document["id"].lower()) or self._describe(cloud, document)
