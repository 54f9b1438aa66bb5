"""What flexible servers and their children have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.resource_types import ResourceType

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.providers.postgresql.instances import Instance, Instances


class FlexibleResource(ResourceType):
    """A resource whose every write is answered with 202, and whose family stands one operation at a time."""

    namespace = "Microsoft.DBforPostgreSQL"
    created_status = 202
    updated_status = 202
    busy = ("ServerBusy", "Server '{name}' is busy with another operation. Please try again later.")
    exclusive = True

    def __init__(self, instances: Instances) -> None:
        self._instances = instances


class ServerChild(FlexibleResource):
    """A resource in a flexible server, made real in the server's PostgreSQL or asked by the way into it."""

    tracked = False

    def instance(self, document: Document) -> Instance:
        """Return the running instance of the server. Raises RuntimeError where it does not run."""
        found = self._instances.of(document["id"])
        if found is None:
            text = f"the instance of {document['id']} does not run"
            raise RuntimeError(text)
        return found

    @staticmethod
    def dies_with_server(cloud: Cloud, document: Document) -> bool:
        """Tell whether the server itself is being deleted, and with it all that it holds."""
        return document["id"].rsplit("/", 2)[0].lower() in cloud.being_deleted

    def view(self, document: Document) -> Document:
        """Return the document as it is: children have no provisioning state."""
        return {key: value for key, value in document.items() if not key.startswith("_")}
