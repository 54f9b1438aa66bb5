"""What etcd and the watch cache are to an API server: objects in one SQLite file, one counter, and a stream of changes.

A write is committed before it is answered or seen by a watch, so a cluster that is killed comes back with all that it
had said. The history of changes is not kept over a restart: an older watch is told that its version is gone.
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

_HISTORY = 4096


class Entry(NamedTuple):
    """One object as it is kept: its namespace and name, and its JSON."""

    key: tuple[str, str]
    text: str


class Event:
    """One change of one object: ADDED, MODIFIED or DELETED, and the resource version that it made.

    The object may be given as JSON: it is read when somebody asks for it.
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
        """Return the object; of a deleted one, its last state."""
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
        """Return the same event with documents of its own."""
        return Event(self.type, self.text, self.resource_version, self.kind, self._previous)


class Subscription:
    """The changes of some kinds since it was made, in their order; iteration ends once it is closed."""

    def __init__(self, storage: Storage, kinds: frozenset[str]) -> None:
        self._storage = storage
        self._kinds = kinds
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()

    def publish(self, event: Event) -> None:
        """Take note of a change, where its kind is of interest; each subscriber has documents of its own."""
        if not self._kinds or event.kind in self._kinds:
            self._queue.put_nowait(event.copy())

    def close(self) -> None:
        """End the iteration; nothing more is noted."""
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
        """Return the objects of a kind with their keys, in one namespace or in all, in the order of the keys."""
        found = self._objects.get(kind, {})
        return [Entry(key, found[key]) for key in sorted(found) if not namespace or key[0] == namespace]

    def put(self, kind: str, document: Document) -> Document:
        """Write the object under the next resource version and tell who watches. Returns it with that version."""
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
        """Delete the object and tell who watches. Returns its last state, under the version of the deletion."""
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
        """Return the changes of these kinds from now on."""
        subscription = Subscription(self, frozenset(kinds))
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Publish to the subscription no longer."""
        self._subscriptions.discard(subscription)

    def since(self, version: int) -> list[Event]:
        """Return the changes after a version. Raises Failure: 410 where they are forgotten, 504 for the future."""
        if version > self.version:
            raise too_large_version(version, self.version)
        oldest = self._history[0].resource_version - 1 if len(self._history) == _HISTORY else self._begin
        if version < oldest:
            raise gone(f"too old resource version: {version} ({oldest})")
        return [one for one in self._history if one.resource_version > version]

    def forget_history(self) -> None:
        """Forget the changes so far, as an API server that has just started knows none."""
        self._history.clear()
        self._begin = self.version

    @contextmanager
    def _transaction(self, version: int) -> Iterator[None]:
        """Make one write and the counter's one: both are kept, or neither."""
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
