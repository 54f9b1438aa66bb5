"""The directory's documents as its replicas have them: Microsoft Graph reads from any of these.

Writes go to one primary replica, and reads may be answered by another one, so what was just written is not found or is
as before, for a while and not at every request:
https://devblogs.microsoft.com/identity/designing-for-eventual-consistency-for-microsoft-entra and
https://learn.microsoft.com/entra/architecture/architecture. One request of a client may see what the next one does not:
https://github.com/hashicorp/terraform-provider-azuread/pull/283 asks for ten affirmative answers.
"""

from __future__ import annotations

import itertools
import time
from copy import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.store import Store

_BEHIND = (1.0, 0.5, 0.0)
"""How far the replicas are behind, as parts of the replication delay; requests go to them by turns."""


class Replicas:
    """Documents of which each replica has a write some time after the primary; the writes of an ended process at once.

    An instance reads from the primary, and what `another` returns from the replica whose turn it is. All of them write
    to the primary.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._behind = 0.0
        self._turns = itertools.cycle(_BEHIND)
        self._recent: list[tuple[float, str, str, Document | None]] = []

    def another(self) -> Replicas:
        """Return the documents of the replica that answers the next request."""
        replica = copy(self)
        replica._behind = next(self._turns) * self._seconds  # noqa: SLF001 - of its own class
        return replica

    def get(self, collection: str, key: str) -> Document | None:
        """Return the document, or None."""
        overwritten = self._overwritten(collection)
        return overwritten[key] if key in overwritten else self._store.get(collection, key)

    def scan(self, collection: str, prefix: str = "") -> list[Document]:
        """Return the documents whose keys start with `prefix`, ordered by key."""
        if not self._overwritten(collection):
            return self._store.scan(collection, prefix)
        documents = (self.get(collection, key) for key in self.keys(collection) if key.startswith(prefix))
        return [document for document in documents if document is not None]

    def keys(self, collection: str) -> list[str]:
        """Return the keys of a collection, in order."""
        overwritten = self._overwritten(collection)
        keys = {*self._store.keys(collection), *overwritten}
        return sorted(key for key in keys if key not in overwritten or overwritten[key] is not None)

    def put(self, collection: str, key: str, body: Document) -> None:
        """Write the document, or replace it."""
        self._note(collection, key)
        self._store.put(collection, key, body)

    def delete(self, collection: str, key: str) -> None:
        """Delete the document if it exists."""
        self._note(collection, key)
        self._store.delete(collection, key)

    def _note(self, collection: str, key: str) -> None:
        now = time.monotonic()
        self._recent[:] = [write for write in self._recent if write[0] > now - self._seconds]
        self._recent.append((now, collection, key, self._store.get(collection, key)))

    def _overwritten(self, collection: str) -> dict[str, Document | None]:
        """Return what this replica still has instead of the newest documents, by their keys."""
        since = time.monotonic() - self._behind
        writes = reversed([write for write in self._recent if write[0] > since and write[1] == collection])
        return {key: before for _, _, key, before in writes}
