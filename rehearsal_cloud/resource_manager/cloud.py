"""The rehearsal cloud: its state and its shared services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud import hosts
from rehearsal_cloud.backends.blobs import Blobs
from rehearsal_cloud.backends.vault_secrets import VaultSecrets
from rehearsal_cloud.certificates import server_context
from rehearsal_cloud.entra.directory import Entra
from rehearsal_cloud.kubernetes.images.builds import ImageBuilds
from rehearsal_cloud.resource_manager.activity_log import ActivityLog
from rehearsal_cloud.resource_manager.authorization import Authorization
from rehearsal_cloud.resource_manager.faults import Faults
from rehearsal_cloud.resource_manager.global_names import Names
from rehearsal_cloud.resource_manager.locks import Locks
from rehearsal_cloud.resource_manager.operations import Operations
from rehearsal_cloud.resource_manager.resource_groups import ResourceGroups
from rehearsal_cloud.resource_manager.resource_ids import ResourceId, canonical_location
from rehearsal_cloud.resource_manager.throttle import Throttle
from rehearsal_cloud.store import Store

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.home import Home, Settings


class Cloud:
    """The state and the services of a rehearsal cloud; `Resources` has the types of its resources."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self.settings = settings
        self.tls = server_context(home, company_root=settings.company_root)
        self.store = Store(home.database)
        self.faults = Faults()
        self.entra = Entra(self.store, settings)
        self.authorization = Authorization(self.store, self.entra)
        self.locks = Locks(self.store)
        self.names = Names(self.store)
        self.activity_log = ActivityLog(self.store)
        self.throttle = Throttle(settings.time_scale)
        self.operations = Operations(self.store)
        self.resource_groups = ResourceGroups(self.store)
        self.blobs = Blobs(home, self.store)
        self.image_builds = ImageBuilds(self.store, settings.proxy_port)
        self.being_deleted: set[str] = set()
        """The lower-case IDs of the resources that are being deleted right now, and with them all that they hold."""

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
        """Return the resources below `scope` that are no other resource's children."""
        return [resource for resource in self.resources(scope) if resource["type"].count("/") == 1]

    def named(self, suffix: str, name: str) -> Document | None:
        """Return the resource that owns the global name `name`.`suffix`, or None."""
        owner = self.names.owner(suffix, name)
        return self.store.get("resources", owner) if owner else None

    def secret_versions(self, vault: str) -> dict[str, str]:
        """Return the newest version of each secret in the vault of that name; of a missing vault, none."""
        document = self.named(hosts.KEY_VAULT, vault)
        return {} if document is None else VaultSecrets(self.store, document).newest()

    def location(self, rid: ResourceId) -> str:
        """Return the location of a resource, or of the nearest parent or the group that has one."""
        place: ResourceId | None = rid
        while place is not None:
            document = self.resource(place) if place.is_instance else None
            if document is not None and document.get("location"):
                return canonical_location(document["location"])
            place = place.parent
        group = self.resource_groups.get(rid.group) or {}
        return str(group.get("location", "global"))
