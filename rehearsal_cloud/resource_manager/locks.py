"""Management locks: a scope's resources cannot be deleted, or neither deleted nor changed.

https://learn.microsoft.com/azure/azure-resource-manager/management/lock-resources. The refusal is that of
https://github.com/hashicorp/terraform-provider-azurerm/issues/17478; that a lock also keeps the role assignments at its
scope is reported in https://github.com/Azure/enterprise-azure-policy-as-code/pull/933.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.store import Store

LEVELS = ("CanNotDelete", "ReadOnly")
_TYPE = "Microsoft.Authorization/locks"


class Locks:
    """The locks of the subscription, by scope and name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, scope: str, name: str, properties: Document) -> Document:
        """Write a lock and return it."""
        path = f"{scope}/providers/{_TYPE}/{name}"
        document = {"id": path, "name": name, "type": _TYPE, "properties": properties}
        self._store.put("locks", path.lower(), document)
        return document

    def get(self, scope: str, name: str) -> Document | None:
        """Return a lock, or None."""
        return self._store.get("locks", f"{scope}/providers/{_TYPE}/{name}".lower())

    def delete(self, document: Document) -> None:
        """Delete a lock."""
        self._store.delete("locks", document["id"].lower())

    def below(self, scope: str) -> list[Document]:
        """Return the locks at `scope` and at all scopes below it."""
        return self._store.scan("locks", f"{scope.lower().rstrip('/')}/")

    def delete_below(self, scope: str) -> None:
        """Delete the locks of a scope that is gone."""
        for document in self.below(scope):
            self.delete(document)

    def check(self, scope: str, verb: str) -> None:
        """Raise ServiceError (409) where a lock keeps `scope` from a `delete` or a `write`.

        A deletion also meets the locks of what it would delete below the scope.
        """
        levels = LEVELS if verb == "delete" else LEVELS[1:]
        holders = {_scope(lock) for lock in self._store.scan("locks") if lock["properties"]["level"] in levels}
        here = f"{scope.lower()}/"
        locked = sorted(
            holder
            for holder in holders
            if here.startswith(f"{holder.lower()}/") or (verb == "delete" and f"{holder.lower()}/".startswith(here))
        )
        if locked:
            text = (
                f"The scope '{scope}' cannot perform {verb} operation because following scope(s) are locked:"
                f" '{','.join(locked)}'. Please remove the lock and try again."
            )
            raise ServiceError(409, "ScopeLocked", text)


def _scope(lock: Document) -> str:
    scope: str = lock["id"].rpartition(f"/providers/{_TYPE}/")[0]
    return scope
