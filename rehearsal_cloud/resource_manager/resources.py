"""The life cycle of all providers' resources: they start, change, delete and stop them by type."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.resource_ids import ResourceId, canonical_location

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.errors import ServiceError
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.operations import Operation
    from rehearsal_cloud.resource_manager.resource_types import Provider, ResourceType

_LOG = logging.getLogger(__name__)
_SETTLE_SECONDS = 0.05


class Resources:
    """The backends of a cloud's resources; `providers` are by lower-case namespace.

    It carries out the cloud's operations.
    """

    def __init__(self, cloud: Cloud, providers: Mapping[str, Provider]) -> None:
        self.providers = providers
        self._cloud = cloud
        cloud.operations.worker = self

    async def start(self) -> None:
        """Start the backends of the resources, then resume the interrupted operations."""
        cloud = self._cloud
        cloud.home.services.mkdir(mode=0o700, exist_ok=True)
        settled = [resource for resource in cloud.resources("") if resource["_state"] not in ("Creating", "Deleting")]
        starts = {resource["id"]: self.kind(resource).start(cloud, resource) for resource in settled}
        await _side_by_side(starts, "did not come back")
        cloud.operations.resume()

    async def stop(self) -> None:
        """Interrupt operations and stop the backends of the resources; the state stays."""
        cloud = self._cloud
        await cloud.operations.stop()
        await cloud.image_builds.stop()
        stops = {resource["id"]: self.kind(resource).stop(cloud, resource) for resource in cloud.resources("")}
        await _side_by_side(stops, "did not stop")
        cloud.store.close()

    def kind(self, document: Document) -> ResourceType:
        """Return the behaviour of the resource's type."""
        namespace, _, kind = document["type"].partition("/")
        provider = self.providers[namespace.lower()]
        return provider.types.get(kind.lower()) or provider.default_type(kind)

    def resolves(self, host: str) -> bool:
        """Tell whether DNS resolves `host`; a global name has an address only while its resource exists."""
        label, _, suffix = host.lower().partition(".")
        if suffix not in {kind.global_name for provider in self.providers.values() for kind in provider.types.values()}:
            return True
        document = self._cloud.named(suffix, label)
        return document is not None and document["_state"] != "Creating"

    async def destroy(self, document: Document) -> None:
        """Delete a resource with its children, backend, role assignments and global name."""
        cloud, key = self._cloud, document["id"].lower()
        await self._settled(document)
        kind = self.kind(document)
        cloud.being_deleted.add(key)
        try:
            for child in reversed(cloud.resources(document["id"])):
                await self.destroy(child)
            await kind.destroy(cloud, document)
        finally:
            cloud.being_deleted.discard(key)
        cloud.authorization.delete_below(document["id"])
        cloud.locks.delete_below(document["id"])
        cloud.store.delete("resources", key)
        if kind.global_name and not kind.soft_deletes:
            location = canonical_location(document.get("location", ""))
            cloud.names.release(kind.global_name.format(location=location), document["name"])

    async def _remove_group(self, path: str) -> None:
        """Delete a group with all its resources; it is idempotent."""
        for document in self._cloud.top_resources(path):
            await self.destroy(document)
        self._cloud.authorization.delete_below(path)
        self._cloud.locks.delete_below(path)
        self._cloud.resource_groups.delete(path.rpartition("/")[2])

    # Operations

    async def work(self, operation: Operation) -> None:
        """Run an operation."""
        cloud, rid = self._cloud, ResourceId.parse(operation.path)
        if rid is None:
            await self._remove_group(operation.path)
            return
        if operation.verb == "action":
            await self._perform(rid, operation)
            return
        document = cloud.resource(rid) if rid.is_instance else None
        if document is None:
            return
        if operation.verb == "delete":
            await self.destroy(document)
        else:
            await self.kind(document).provision(cloud, document, operation.verb)

    def finish(self, operation: Operation, error: ServiceError | None) -> None:
        """Record how an operation ended, in its resource and in the activity log."""
        rid = ResourceId.parse(operation.path)
        document = self._cloud.resource(rid) if rid is not None and rid.is_instance else None
        if document is not None and operation.verb != "action":
            settled = {**document, "_state": "Succeeded" if error is None else "Failed", "_ended": operation.verb}
            self._cloud.keep(settled)
            self.kind(settled).settle(self._cloud, settled)
        self._cloud.activity_log.ended(operation, error)
        if error is not None:
            _LOG.warning("%s of %s failed: %s", operation.verb, operation.path, error.code)

    async def _settled(self, document: Document) -> None:
        """Wait for the end of a creation or an update of the resource, which a group's deletion may interrupt."""
        operations = self._cloud.operations
        while (operation := operations.get(document.get("_operation", ""))) and operation.running:
            if operation.verb == "delete":
                return
            await asyncio.sleep(_SETTLE_SECONDS)

    async def _perform(self, action: ResourceId, operation: Operation) -> None:
        document = self._cloud.resource(action.parent) if action.parent is not None else None
        if document is not None:
            name = action.types[-1].lower()
            await self.kind(document).perform(self._cloud, document, name, operation.arguments)


async def _side_by_side(acts: dict[str, Coroutine[None, None, None]], failed: str) -> None:
    """Start or stop backends concurrently, by resource ID; a failure does not affect the rest."""
    faults = await asyncio.gather(*acts.values(), return_exceptions=True)
    for resource_id, fault in zip(acts, faults, strict=True):
        if fault is not None:
            _LOG.error("%s %s", resource_id, failed, exc_info=fault)
