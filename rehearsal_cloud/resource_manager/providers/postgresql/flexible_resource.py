"""The base of flexible servers and their children."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.resource_types import ResourceType

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.providers.postgresql.instances import Instance, Instances


class FlexibleResource(ResourceType):
    """A resource whose writes are answered with 202; its server and siblings run one operation at a time."""

    namespace = "Microsoft.DBforPostgreSQL"
    created_status = 202
    updated_status = 202
    busy = ("ServerBusy", "Server '{top}' is busy with another operation. Please try again later.")
    """https://github.com/Azure/bicep-registry-modules/issues/4451."""
    exclusive = True

    def __init__(self, instances: Instances) -> None:
        self._instances = instances


class ServerChild(FlexibleResource):
    """A child resource of a flexible server, applied in PostgreSQL or read at every login."""

    tracked = False

    def instance(self, document: Document) -> Instance:
        """Return the running instance of the server. Raises RuntimeError where it does not run."""
        running = self._instances.of(document["id"])
        if running is None:
            text = f"the instance of {document['id']} does not run"
            raise RuntimeError(text)
        return running

    @staticmethod
    def dies_with_server(cloud: Cloud, document: Document) -> bool:
        """Tell whether the server is being deleted with all its children."""
        return document["id"].rsplit("/", 2)[0].lower() in cloud.being_deleted

    def view(self, document: Document) -> Document:
        """Return the document as it is: children have no provisioning state."""
        return {key: value for key, value in document.items() if not key.startswith("_")}
