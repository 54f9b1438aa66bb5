"""The state of the rehearsal cloud: JSON documents in one SQLite file.

A document is committed before the request that wrote it is answered, so a killed rehearsal loses no answered
write.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal_cloud.documents import Document


_LAST = chr(0x10FFFF)
"""After every other character: keys with a prefix are a range of the primary key, of which SQLite reads no more."""


class Store:
    """Documents by collection and key. Keys are case-sensitive: callers fold Azure's case-insensitive names."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS documents"
            " (collection TEXT, key TEXT, body TEXT NOT NULL, PRIMARY KEY (collection, key)) WITHOUT ROWID"
        )

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._connection.close()

    def get(self, collection: str, key: str) -> Document | None:
        """Return the document, or None."""
        row = self._connection.execute(
            "SELECT body FROM documents WHERE collection = ? AND key = ?", (collection, key)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, collection: str, key: str, body: Document) -> None:
        """Write the document, or replace it."""
        self._connection.execute("REPLACE INTO documents VALUES (?, ?, ?)", (collection, key, json.dumps(body)))

    def delete(self, collection: str, key: str) -> None:
        """Delete the document if it exists."""
        self._connection.execute("DELETE FROM documents WHERE collection = ? AND key = ?", (collection, key))

    def delete_below(self, collection: str, prefix: str) -> None:
        """Delete the documents whose keys start with `prefix`."""
        self._connection.execute(
            "DELETE FROM documents WHERE collection = ? AND key >= ? AND key < ?", (collection, prefix, prefix + _LAST)
        )

    def scan(self, collection: str, prefix: str = "") -> list[Document]:
        """Return the documents whose keys start with `prefix`, ordered by key."""
        rows = self._connection.execute(
            "SELECT body FROM documents WHERE collection = ? AND key >= ? AND key < ? ORDER BY key",
            (collection, prefix, prefix + _LAST),
        )
        return [json.loads(body) for (body,) in rows]

    def keys(self, collection: str) -> list[str]:
        """Return the keys of a collection, in order."""
        rows = self._connection.execute("SELECT key FROM documents WHERE collection = ? ORDER BY key", (collection,))
        return [key for (key,) in rows]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit several writes together."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
