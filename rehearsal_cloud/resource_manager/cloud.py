"""One rehearsal cloud: its parts put together, and the resources that they share."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from rehearsal_cloud.backends.blobs import Blobs
from rehearsal_cloud.certificates import server_context
from rehearsal_cloud.entra.directory import Entra
from rehearsal_cloud.kubernetes.images.builds import ImageBuilds
from rehearsal_cloud.resource_manager.activity_log import ActivityLog
from rehearsal_cloud.resource_manager.authorization import Authorization
from rehearsal_cloud.resource_manager.faults import Faults
from rehearsal_cloud.resource_manager.global_names import Names
from rehearsal_cloud.resource_manager.operations import Operation, Operations
from rehearsal_cloud.resource_manager.providers import PROVIDERS
from rehearsal_cloud.resource_manager.registrations import Registrations
from rehearsal_cloud.resource_manager.resource_groups import ResourceGroups
from rehearsal_cloud.resource_manager.resource_ids import ResourceId, canonical_location
from rehearsal_cloud.resource_manager.throttle import Throttle
from rehearsal_cloud.store import Store

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.errors import ServiceError
    from rehearsal_cloud.home import Home, Settings
    from rehearsal_cloud.resource_manager.resource_types import ResourceType

_LOG = logging.getLogger(__name__)
_SETTLE_SECONDS = 0.05


class Cloud:
    """The state and the services of one rehearsal cloud; what serves HTTP is handed this."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self.settings = settings
        self.tls = server_context(home)
        self.store = Store(home.database)
        self.faults = Faults()
        self.entra = Entra(self.store, settings)
        self.authorization = Authorization(self.store, self.entra)
        self.names = Names(self.store)
        self.activity_log = ActivityLog(self.store)
        self._dying: set[str] = set()
        self.throttle = Throttle(settings.time_scale)
        self.operations = Operations(self.store, self._work, self._finish)
        self.resource_groups = ResourceGroups(self)
        self.registrations = Registrations(self, PROVIDERS)
        self.blobs = Blobs(home, self.store)
        self.image_builds = ImageBuilds(self)

    async def start(self) -> None:
        """Bring back what runs behind the resources, then resume the operations that were interrupted."""
        home_services = self.home.services
        home_services.mkdir(mode=0o700, exist_ok=True)
        there = [one for one in self.resources("") if one["_state"] not in ("Creating", "Deleting")]
        await _side_by_side({one["id"]: self.kind(one).start(self, one) for one in there}, "did not come back")
        self.operations.resume()

    async def stop(self) -> None:
        """Interrupt operations and stop what runs behind the resources; nothing is forgotten."""
        await self.operations.stop()
        await self.image_builds.stop()
        stops = {one["id"]: self.kind(one).stop(self, one) for one in self.resources("")}
        await _side_by_side(stops, "did not stop")
        self.store.close()

    # Resources

    def resource(self, rid: ResourceId) -> Document | None:
        """Return the resource's document, or None."""
        return self.store.get("resources", rid.key)

    def keep(self, document: Document) -> None:
        """Write the resource's document."""
        self.store.put("resources", document["id"].lower(), document)

    def resources(self, scope: str) -> list[Document]:
        """Return all resources, children too, whose IDs start with `scope` and a slash."""
        return self.store.scan("resources", f"{scope.lower().rstrip('/')}/")

    def top_resources(self, scope: str) -> list[Document]:
        """Return the resources below `scope` that are nobody's children."""
        return [one for one in self.resources(scope) if one["type"].count("/") == 1]

    def kind(self, document: Document) -> ResourceType:
        """Return the behaviour of the resource's type."""
        namespace, _, kind = document["type"].partition("/")
        provider = PROVIDERS[namespace.lower()]
        return provider.types.get(kind.lower()) or provider.other(kind)

    def location(self, rid: ResourceId) -> str:
        """Return where a resource, or else the resource that it is a child of, or its group, is."""
        place: ResourceId | None = rid
        while place is not None:
            document = self.resource(place) if place.is_instance else None
            if document is not None and document.get("location"):
                return canonical_location(document["location"])
            place = place.parent
        group = self.store.get("groups", rid.group.lower()) or {}
        return str(group.get("location", "global"))

    def resolves(self, host: str) -> bool:
        """Tell whether DNS would know `host`; a global name has an address only while its resource exists."""
        label, _, suffix = host.lower().partition(".")
        if suffix not in {kind.global_name for provider in PROVIDERS.values() for kind in provider.types.values()}:
            return True
        owner = self.names.owner(suffix, label)
        document = self.store.get("resources", owner) if owner else None
        return document is not None and document["_state"] != "Creating"

    async def destroy(self, document: Document) -> None:
        """Delete a resource with its children, what runs behind it, its roles and its name."""
        await self._settled(document)
        kind = self.kind(document)
        self._dying.add(document["id"].lower())
        try:
            for child in reversed(self.resources(document["id"])):
                await self.destroy(child)
            await kind.destroy(self, document)
        finally:
            self._dying.discard(document["id"].lower())
        self.authorization.delete_below(document["id"])
        self.store.delete("resources", document["id"].lower())
        if kind.global_name and not kind.soft_deletes:
            location = canonical_location(document.get("location", ""))
            self.names.release(kind.global_name.format(location=location), document["name"])

    def dying(self, resource_id: str) -> bool:
        """Tell whether the resource is being destroyed right now, and with it all that it holds."""
        return resource_id.lower() in self._dying

    # Operations

    async def _settled(self, document: Document) -> None:
        """Wait until a creation or an update of the resource has ended: a group's deletion does not ask for that."""
        while (operation := self.operations.get(document.get("_operation", ""))) and operation.running:
            if operation.verb == "delete":
                return
            await asyncio.sleep(_SETTLE_SECONDS)

    async def _work(self, operation: Operation) -> None:
        rid = ResourceId.parse(operation.path)
        if rid is None:
            await self.resource_groups.remove(operation.path)
            return
        if operation.verb == "action":
            await self._perform(rid, operation)
            return
        document = self.resource(rid) if rid.is_instance else None
        if document is None:
            return
        if operation.verb == "delete":
            await self.destroy(document)
        else:
            await self.kind(document).provision(self, document, operation.verb)

    async def _perform(self, action: ResourceId, operation: Operation) -> None:
        document = self.resource(action.parent) if action.parent is not None else None
        if document is not None:
            await self.kind(document).perform(self, document, action.types[-1].lower(), operation.arguments)

    def _finish(self, operation: Operation, error: ServiceError | None) -> None:
        rid = ResourceId.parse(operation.path)
        document = self.resource(rid) if rid is not None and rid.is_instance else None
        if document is not None and operation.verb != "action":
            settled = {**document, "_state": "Succeeded" if error is None else "Failed"}
            self.keep(settled)
            self.kind(settled).settle(self, settled)
        self.activity_log.ended(operation, error)
        if error is not None:
            _LOG.warning("%s of %s failed: %s", operation.verb, operation.path, error.code)


async def _side_by_side(acts: dict[str, Coroutine[None, None, None]], failed: str) -> None:
    """Start or stop what runs behind resources, by their IDs; one that fails must not keep the others from it."""
    faults = await asyncio.gather(*acts.values(), return_exceptions=True)
    for resource_id, fault in zip(acts, faults, strict=True):
        if fault is not None:
            _LOG.error("%s %s", resource_id, failed, exc_info=fault)
