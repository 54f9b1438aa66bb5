"""Requests for a container's log: existing lines, or a stream of new ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, StreamingResponse

from rehearsal_cloud.kubernetes.failures import bad_request
from rehearsal_cloud.kubernetes.node.logs import LogFile, entries, last

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from rehearsal_cloud.kubernetes.node.container import Container
    from rehearsal_cloud.kubernetes.node.logs import Entry
    from rehearsal_cloud.kubernetes.node.runtime import Run

LOOK_SECONDS = 0.1
"""How often who follows a log is shown what is new."""

_TRUE = ("1", "true")


@dataclass(frozen=True)
class Options:
    """The options of a log request (PodLogOptions)."""

    follow: bool
    previous: bool
    timestamps: bool
    tail: int | None
    limit: int | None
    since: str

    @classmethod
    def of(cls, query: QueryParams) -> Options:
        """Return the options of a query. Raises Failure (400)."""
        try:
            tail, limit = query.get("tailLines"), query.get("limitBytes")
            seconds = query.get("sinceSeconds")
            since = query.get("sinceTime", "")
            if seconds is not None:
                since = (datetime.now(UTC) - timedelta(seconds=int(seconds))).isoformat()
            if since:
                since = datetime.fromisoformat(since).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            flags = {name: query.get(name, "").lower() in _TRUE for name in ("follow", "previous", "timestamps")}
            return cls(**flags, tail=int(tail) if tail else None, limit=int(limit) if limit else None, since=since)
        except ValueError as fault:
            raise bad_request(str(fault)) from None

    def text(self, entry: Entry) -> bytes:
        """Return an entry as shown."""
        return entry.time + b" " + entry.text if self.timestamps else entry.text

    def chosen(self, lines: Iterable[Entry]) -> Iterator[Entry]:
        """Return the entries since the requested time."""
        return (entry for entry in lines if entry.time.decode() >= self.since)


def answer(request: Request, container: Container, *, removed: bool = False) -> Response:
    """Answer with a container's log. Raises Failure (400) where it does not exist yet.

    Measured on a kubelet 1.36: the log of a `removed` container is a sentence, with status 200.
    """
    options = Options.of(request.query_params)
    run = _run(container, previous=options.previous)
    if removed and options.previous:
        return PlainTextResponse(f"unable to retrieve container logs for containerd://{run.about['id']}")
    if options.follow:
        return StreamingResponse(_limited(_followed(run, options), options.limit), media_type="text/plain")
    lines = list(options.chosen(entries(run.log)))
    if options.tail is not None:
        lines = last(lines, options.tail)
    body = b"".join(options.text(entry) for entry in lines)
    return PlainTextResponse(body if options.limit is None else body[: options.limit])


def _run(container: Container, *, previous: bool) -> Run:
    pod = container.pod_name
    if previous:
        if container.previous is None:
            raise bad_request(f'previous terminated container "{container.name}" in pod "{pod}" not found')
        return container.previous
    if container.last_started is not None:
        return container.last_started
    why = container.waiting_reason
    if why in ("ErrImagePull", "ImagePullBackOff"):
        why = "trying and failing to pull image" if why == "ImagePullBackOff" else "image can't be pulled"
    raise bad_request(f'container "{container.name}" in pod "{pod}" is waiting to start: {why}')


async def _followed(run: Run, options: Options) -> AsyncIterator[bytes]:
    log = LogFile(run.log)
    try:
        lines = list(options.chosen(log.read()))
        if options.tail is not None:
            lines = last(lines, options.tail)
        while True:
            for entry in lines:
                yield options.text(entry)
            if not run.alive():
                break
            await asyncio.sleep(LOOK_SECONDS)
            lines = list(log.read())
        for entry in log.read():  # lines between the last read and the end
            yield options.text(entry)
    finally:
        log.close()


async def _limited(chunks: AsyncIterator[bytes], limit: int | None) -> AsyncIterator[bytes]:
    left = limit
    async for chunk in chunks:
        if left is None:
            yield chunk
            continue
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return
