"""Lists and watches: collections of objects in pages, and streams of their changes.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
import time
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from rehearsal_cloud.kubernetes.api import responses
from rehearsal_cloud.kubernetes.failures import Failure, bad_request, gone, too_large_version
from rehearsal_cloud.kubernetes.objects.selectors import FieldSelector, LabelSelector
from rehearsal_cloud.kubernetes.objects.storage import Event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.responses import Response

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.api.call import Call
    from rehearsal_cloud.kubernetes.objects.storage import Entry, Subscription

_BOOKMARK_SECONDS = 60.0
_LEAST_WATCH_SECONDS = 1800
_SNAPSHOTS = 64
_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without"
    " the continue parameter, or use the continue token in this response to retrieve the remainder of the results."
    " Continuing with the provided token results in an inconsistent list - objects that were created, modified, or"
    " deleted between the time the first chunk was returned and now may show up in the list."
)


class Lists:
    """Answers lists; the pages of a list come from a snapshot taken at the first page."""

    def __init__(self) -> None:
        self._snapshots: OrderedDict[str, list[Entry]] = OrderedDict()

    def answer(self, call: Call) -> Response:
        """Answer a list. Raises Failure: 400 for invalid selectors and tokens, 410, 504."""
        limit, token = _number(call.query("limit"), "limit"), call.query("continue")
        if token:
            version, start = _read_token(token)
            entries = self._snapshots.get(_snapshot(call, version))
            if entries is None:
                raise gone(_EXPIRED)
            begin = bisect_right(entries, start, key=_key)
        else:
            _check_version(call)
            version, begin = str(call.cluster.objects.storage.version), 0
            entries = _entries(call)
        end = begin + limit if limit else len(entries)
        metadata: Document = {"resourceVersion": version}
        if end < len(entries):
            metadata |= {"continue": _token(version, entries[end - 1])}
            if not (call.query("labelSelector") or call.query("fieldSelector")):
                metadata["remainingItemCount"] = len(entries) - end
            self._keep(_snapshot(call, version), entries)
        return responses.many(call, [json.loads(entry.text) for entry in entries[begin:end]], metadata)

    def _keep(self, name: str, entries: list[Entry]) -> None:
        self._snapshots.setdefault(name, entries)
        self._snapshots.move_to_end(name)
        if len(self._snapshots) > _SNAPSHOTS:
            self._snapshots.popitem(last=False)


def _entries(call: Call) -> list[Entry]:
    """Return the objects of the request's namespace, name and selectors. Raises Failure (400)."""
    entries = call.cluster.objects.entries(
        call.kind.kind,
        call.info.namespace if call.kind.namespaced else "",
        labels=call.query("labelSelector"),
        fields=call.query("fieldSelector"),
    )
    name = call.info.name
    return [entry for entry in entries if entry.key[1] == name] if name else entries


def selected(call: Call) -> list[Document]:
    """Return the selected objects as documents. Raises Failure (400)."""
    return [json.loads(entry.text) for entry in _entries(call)]


class Watch:
    """Answers a watch."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._labels = LabelSelector(call.query("labelSelector"))
        self._fields = FieldSelector(call.query("fieldSelector"), call.kind)
        requested = _number(call.query("timeoutSeconds"), "timeoutSeconds")
        seconds = requested or _LEAST_WATCH_SECONDS + secrets.randbelow(_LEAST_WATCH_SECONDS)
        self._deadline = time.monotonic() + seconds
        self._bookmarks = call.flag("allowWatchBookmarks")
        self._headed = False
        self._initial = call.query("sendInitialEvents")
        if self._initial and call.query("resourceVersionMatch") != "NotOlderThan":
            text = "sendInitialEvents is forbidden for watch unless resourceVersionMatch=NotOlderThan"
            raise bad_request(text)

    def answer(self) -> Response:
        """Begin the stream."""
        subscription = self._call.cluster.objects.subscribe(self._call.kind.kind)
        return StreamingResponse(self._lines(subscription), media_type="application/json")

    async def _lines(self, subscription: Subscription) -> AsyncIterator[bytes]:
        try:
            try:
                for event in self._before():
                    yield self._line(event.type, event.document)
            except Failure as failure:
                yield _encoded({"type": "ERROR", "object": failure.status()})
                return
            if self._initial in ("1", "true") and self._bookmarks:
                yield self._bookmark({"k8s.io/initial-events-end": "true"})
            async for change in self._live(subscription):
                if change is None:
                    yield self._bookmark()
                elif (change_type := self._change_type(change)) is not None:
                    yield self._line(change_type, change.document)
        finally:
            subscription.close()

    async def _live(self, subscription: Subscription) -> AsyncIterator[Event | None]:
        """Yield the changes, and None for each due bookmark."""
        while (left := self._deadline - time.monotonic()) > 0:
            wait = min(left, _BOOKMARK_SECONDS) if self._bookmarks else left
            try:
                async with asyncio.timeout(wait):
                    yield await anext(subscription)
            except TimeoutError:
                if self._bookmarks:
                    yield None
            except StopAsyncIteration:
                return

    def _before(self) -> Iterator[Event]:
        """Yield the first events of a watch: the changes since its version, or all objects without a version."""
        version = self._call.query("resourceVersion")
        storage = self._call.cluster.objects.storage
        since = _number(version, "resourceVersion") if version else 0
        if since > storage.version:
            raise too_large_version(since, storage.version)
        if (not since and self._initial not in ("0", "false")) or self._initial in ("1", "true"):
            for document in selected(self._call):
                yield Event("ADDED", document, int(document["metadata"]["resourceVersion"]))
            return
        for event in storage.since(since) if since else ():
            if event.kind == self._call.kind.kind and (change_type := self._change_type(event)) is not None:
                yield Event(change_type, event.text, event.resource_version)

    def _change_type(self, event: Event) -> str | None:
        """Return the type of the change for the selection: an object that leaves it counts as DELETED."""
        now = event.type != "DELETED" and self._selects(event.document)
        before = event.previous is not None and self._selects(event.previous)
        if now:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None

    def _selects(self, document: Document) -> bool:
        info, metadata = self._call.info, document["metadata"]
        if info.namespace and self._call.kind.namespaced and metadata.get("namespace") != info.namespace:
            return False
        if info.name and metadata["name"] != info.name:
            return False
        return self._labels.matches(document) and self._fields.matches(document)

    def _line(self, type_: str, document: Document) -> bytes:
        if responses.wants_table(self._call):
            metadata = {"resourceVersion": document["metadata"]["resourceVersion"]}
            shown = responses.table(self._call, [document], metadata, headed=not self._headed)
            self._headed = True
        else:
            shown = responses.shown(self._call, document)
        return _encoded({"type": type_, "object": shown})

    def _bookmark(self, annotations: dict[str, str] | None = None) -> bytes:
        metadata: Document = {"resourceVersion": str(self._call.cluster.objects.storage.version)}
        metadata |= {"creationTimestamp": None} | ({"annotations": annotations} if annotations else {})
        kind = self._call.kind
        bare = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        if responses.wants_table(self._call):
            bare = responses.table(self._call, [], metadata, headed=False)
        return _encoded({"type": "BOOKMARK", "object": bare})


def _check_version(call: Call) -> None:
    version = call.query("resourceVersion")
    if not version:
        return
    current = call.cluster.objects.storage.version
    requested = _number(version, "resourceVersion")
    if requested > current:
        raise too_large_version(requested, current)


def _number(text: str, field: str) -> int:
    if not text:
        return 0
    if text.isdecimal():
        return int(text)
    if field == "resourceVersion":
        shown = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        raise Failure(500, "", f'resourceVersion: Invalid value: "{text}": {shown}')
    raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')


def _key(entry: Entry) -> tuple[str, str]:
    return entry.key


def _snapshot(call: Call, version: str) -> str:
    parts = (call.kind.resource, call.info.namespace, call.query("labelSelector"), call.query("fieldSelector"), version)
    return "\0".join(parts)


def _token(version: str, last: Entry) -> str:
    start = f"{'/'.join(last.key)}\0"
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": int(version), "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _read_token(token: str) -> tuple[str, tuple[str, str]]:
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, _, name = str(content["start"]).removesuffix("\0").partition("/")
        return str(content["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error


def _encoded(event: Document) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"
