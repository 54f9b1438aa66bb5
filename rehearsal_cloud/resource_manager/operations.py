"""Long-running operations: started by a request, polled until they end.

An operation is stored before its request is answered. The next start repeats an operation that the rehearsal's end
interrupted, so its work must be idempotent.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.store import Store

_LOG = logging.getLogger(__name__)
_SHORTEST_POLL_MS = 50
_SECOND_MS = 1000
_LONGEST_POLL_MS = 15_000
_DOOM: ContextVar[ServiceError | None] = ContextVar("doom", default=None)


@contextmanager
def failing(error: ServiceError) -> Iterator[None]:
    """Make every operation begun inside this context end in `error`, without its work."""
    reset = _DOOM.set(error)
    try:
        yield
    finally:
        _DOOM.reset(reset)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation: its `verb` on the resource `path`, its earliest end, and its outcome."""

    id: str
    verb: str
    path: str
    started: float
    due: float
    arguments: dict[str, Any]
    status: str = "InProgress"
    error: dict[str, Any] | None = None
    ended: float | None = None

    @property
    def running(self) -> bool:
        """Tell whether it is still running."""
        return self.status == "InProgress"

    @property
    def poll_ms(self) -> int:
        """Return the polling interval in milliseconds: a quarter of the remaining time, within bounds."""
        left = (self.due - time.time()) * 1000
        return int(min(max(left / 4, _SHORTEST_POLL_MS), _LONGEST_POLL_MS))

    @property
    def poll_headers(self) -> dict[str, str]:
        """Return the headers with the polling interval; an operation that has ended has none.

        Azure sends Retry-After, which has whole seconds (RFC 9110), and clients heed it before all others. An interval
        below a second, as scaled durations have, only the other header can say.
        """
        if not self.running:
            return {}
        interval = self.poll_ms
        seconds = {"Retry-After": str(interval // _SECOND_MS)} if interval >= _SECOND_MS else {}
        return {"x-ms-retry-after-ms": str(interval), **seconds}

    def view(self, path: str) -> dict[str, Any]:
        """Return the body of the operation's status resource, for Azure-AsyncOperation polls."""
        body: dict[str, Any] = {
            "id": path,
            "name": self.id,
            "status": self.status,
            "startTime": _text(self.started),
        }
        if self.ended is not None:
            body["endTime"] = _text(self.ended)
        if self.error is not None:
            body["error"] = self.error
        return body


class Worker(Protocol):
    """The work behind operations."""

    async def work(self, operation: Operation) -> None:
        """Run an operation. Raises ServiceError where it fails."""

    def finish(self, operation: Operation, error: ServiceError | None) -> None:
        """Record that an operation has ended, with `error` where it failed."""


class Operations:
    """Starts and stores operations; `worker` runs them in the background."""

    worker: Worker

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, verb: str, path: str, seconds: float, arguments: dict[str, Any] | None = None) -> Operation:
        """Store and start an operation that takes at least `seconds` of real time."""
        operation = _new(verb, path, seconds, arguments or {})
        self._keep(operation)
        self._start(operation)
        return operation

    async def delete(self, path: str) -> None:
        """Delete a resource or a group as a part of the operation that calls this. Raises ServiceError."""
        await self.worker.work(_new("delete", path, 0, {}))

    def get(self, operation_id: str) -> Operation | None:
        """Return the operation with that ID."""
        kept = self._store.get("operations", operation_id.lower())
        return None if kept is None else Operation(**kept)

    def resume(self) -> None:
        """Restart the operations that the rehearsal's end interrupted."""
        for kept in self._store.scan("operations"):
            operation = Operation(**kept)
            if operation.running:
                self._start(operation)

    async def stop(self) -> None:
        """Interrupt the running operations; the next start resumes them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, operation: Operation) -> None:
        self._store.put("operations", operation.id, asdict(operation))

    def _start(self, operation: Operation) -> None:
        task = asyncio.create_task(self._run(operation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, operation: Operation) -> None:
        error = _DOOM.get()
        try:
            if error is not None:
                await asyncio.sleep(operation.due - time.time())
            elif operation.verb == "delete":  # a resource in deletion is visible until it is gone
                await asyncio.sleep(operation.due - time.time())
                await self.worker.work(operation)
            else:
                await self.worker.work(operation)
                await asyncio.sleep(operation.due - time.time())
        except ServiceError as raised:
            error = raised
        except Exception:  # noqa: BLE001 - a fault of ours fails the operation, as a service's own does
            _LOG.exception("operation %s on %s failed", operation.verb, operation.path)
            text = "An unexpected error occurred in the rehearsal cloud; its log tells more."
            error = ServiceError(500, "InternalServerError", text)
        self.worker.finish(operation, error)
        status, body = ("Succeeded", None) if error is None else ("Failed", error.error())
        self._keep(replace(operation, status=status, error=body, ended=time.time()))


def _new(verb: str, path: str, seconds: float, arguments: dict[str, Any]) -> Operation:
    now = time.time()
    return Operation(id=str(uuid.uuid4()), verb=verb, path=path, started=now, due=now + seconds, arguments=arguments)


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
