"""The stored resource groups of the subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.home import SUBSCRIPTION_ID

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.store import Store

SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION_ID}"


class ResourceGroups:
    """The resource groups, by name; names differ in more than case."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str) -> Document | None:
        """Return the group's document, or None."""
        return self._store.get("groups", name.lower())

    def list(self) -> list[Document]:
        """Return the documents of all groups."""
        return self._store.scan("groups")

    def keep(self, group: Document) -> None:
        """Write the group's document."""
        self._store.put("groups", group["name"].lower(), group)

    def delete(self, name: str) -> None:
        """Delete the group's document."""
        self._store.delete("groups", name.lower())

    def exists(self, name: str) -> bool:
        """Tell whether the resource group exists."""
        return self.get(name) is not None

    def deleting(self, name: str) -> bool:
        """Tell whether the group is being deleted."""
        return (self.get(name) or {}).get("_state") == "Deleting"

    def make(self, name: str, location: str, managed_by: str) -> str:
        """Create a service's resource group if it is missing; return its ID."""
        path = f"{SUBSCRIPTION}/resourceGroups/{name}"
        if not self.exists(name):
            document = {
                "id": path,
                "name": name,
                "type": "Microsoft.Resources/resourceGroups",
                "location": location,
                "managedBy": managed_by,
                "_state": "Succeeded",
            }
            self.keep(document)
        return path
