"""The storage of a cluster, its etcd and watch cache: objects in one SQLite file, one counter, a stream of changes.

A write is committed before it is answered or seen by a watch, so a killed cluster comes back with every answered
write. The history of changes does not survive a restart: an older watch gets the error that its version is expired.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import deque
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from rehearsal_cloud.kubernetes.failures import gone, too_large_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal_cloud.documents import Document

_HISTORY = 256  # changes, of some kilobytes each; a watch that is further behind lists again


class Entry(NamedTuple):
    """A stored object: its namespace and name, and its JSON."""

    key: tuple[str, str]
    text: str


class Event:
    """A change of an object: ADDED, MODIFIED or DELETED, and its resource version.

    The object may be JSON: it is parsed on first access.
    """

    def __init__(
        self, type_: str, document: Document | str, resource_version: int, kind: str = "", previous: str | None = None
    ) -> None:
        self.type = type_
        self.resource_version = resource_version
        self.kind = kind
        self._given = document
        self._previous = previous

    @cached_property
    def document(self) -> Document:
        """Return the object; for a deletion, its last state."""
        document: Document = json.loads(self._given) if isinstance(self._given, str) else self._given
        return document

    @cached_property
    def text(self) -> str:
        """Return the object as JSON."""
        return self._given if isinstance(self._given, str) else json.dumps(self._given, separators=(",", ":"))

    @cached_property
    def previous(self) -> Document | None:
        """Return the object as it was before, or None where it is new."""
        return None if self._previous is None else json.loads(self._previous)

    def copy(self) -> Event:
        """Return a copy of the event with its own documents."""
        return Event(self.type, self.text, self.resource_version, self.kind, self._previous)


class Subscription:
    """The ordered changes of some kinds since the subscription; iteration ends when it is closed."""

    def __init__(self, storage: Storage, kinds: frozenset[str]) -> None:
        self._storage = storage
        self._kinds = kinds
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()

    def publish(self, event: Event) -> None:
        """Queue a change of a subscribed kind; each subscriber has its own documents."""
        if not self._kinds or event.kind in self._kinds:
            self._queue.put_nowait(event.copy())

    def close(self) -> None:
        """End the iteration; no more changes are queued."""
        self._storage.unsubscribe(self)
        self._queue.put_nowait(None)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event


class Storage:
    """The objects of one cluster as JSON texts, by kind, namespace and name."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        file.chmod(0o600)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS objects (kind TEXT, namespace TEXT, name TEXT, version INTEGER NOT NULL,"
            " body TEXT NOT NULL, PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID"
        )
        self._connection.execute("CREATE TABLE IF NOT EXISTS counter (version INTEGER NOT NULL)")
        row = self._connection.execute("SELECT version FROM counter").fetchone()
        if row is None:
            self._connection.execute("INSERT INTO counter VALUES (1)")
        self.version: int = 1 if row is None else row[0]
        self._objects: dict[str, dict[tuple[str, str], str]] = {}
        for kind, namespace, name, body in self._connection.execute("SELECT kind, namespace, name, body FROM objects"):
            self._objects.setdefault(kind, {})[namespace, name] = body
        self._history: deque[Event] = deque(maxlen=_HISTORY)
        self._begin = self.version
        self._subscriptions: set[Subscription] = set()

    def close(self) -> None:
        """End all subscriptions and close the file; what was committed stays."""
        for subscription in list(self._subscriptions):
            subscription.close()
        self._connection.close()

    def get(self, kind: str, namespace: str, name: str) -> str | None:
        """Return the object as JSON, or None."""
        return self._objects.get(kind, {}).get((namespace, name))

    def scan(self, kind: str, namespace: str = "") -> list[Entry]:
        """Return the objects of a kind with their keys, in one namespace or in all, ordered by key."""
        by_key = self._objects.get(kind, {})
        return [Entry(key, by_key[key]) for key in sorted(by_key) if not namespace or key[0] == namespace]

    def put(self, kind: str, document: Document) -> Document:
        """Write the object under the next resource version and publish the change. Returns it with that version."""
        namespace, name = _key(document)
        version = self.version + 1
        metadata = {**document["metadata"], "resourceVersion": str(version)}
        document = {**document, "metadata": metadata}
        text = json.dumps(document, separators=(",", ":"))
        with self._transaction(version):
            self._connection.execute(
                "REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", (kind, namespace, name, version, text)
            )
        objects = self._objects.setdefault(kind, {})
        previous = objects.get((namespace, name))
        objects[namespace, name] = text
        self._publish(Event("ADDED" if previous is None else "MODIFIED", text, version, kind, previous))
        return document

    def remove(self, kind: str, document: Document) -> Document:
        """Delete the object and publish the change. Returns its last state, with the version of the deletion."""
        namespace, name = _key(document)
        version = self.version + 1
        document = {**document, "metadata": {**document["metadata"], "resourceVersion": str(version)}}
        with self._transaction(version):
            self._connection.execute(
                "DELETE FROM objects WHERE kind = ? AND namespace = ? AND name = ?", (kind, namespace, name)
            )
        previous = self._objects[kind].pop((namespace, name))
        text = json.dumps(document, separators=(",", ":"))
        self._publish(Event("DELETED", text, version, kind, previous))
        return document

    def subscribe(self, *kinds: str) -> Subscription:
        """Return the future changes of these kinds."""
        subscription = Subscription(self, frozenset(kinds))
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop publishing to the subscription."""
        self._subscriptions.discard(subscription)

    def since(self, version: int) -> list[Event]:
        """Return the changes after a version. Raises Failure: 410 for an expired version, 504 for a future one."""
        if version > self.version:
            raise too_large_version(version, self.version)
        oldest = self._history[0].resource_version - 1 if len(self._history) == _HISTORY else self._begin
        if version < oldest:
            raise gone(f"too old resource version: {version} ({oldest})")
        return [event for event in self._history if event.resource_version > version]

    def forget_history(self) -> None:
        """Forget the changes so far, like a restarted API server."""
        self._history.clear()
        self._begin = self.version

    @contextmanager
    def _transaction(self, version: int) -> Iterator[None]:
        """Commit a write and its counter together."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.execute("UPDATE counter SET version = ?", (version,))
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        self.version = version

    def _publish(self, event: Event) -> None:
        self._history.append(event)
        for subscription in list(self._subscriptions):
            subscription.publish(event)


def _key(document: Document) -> tuple[str, str]:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
