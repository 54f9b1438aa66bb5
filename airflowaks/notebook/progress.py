"""Progress in a notebook: one line that is updated in place while resources converge.

The record keeps one line if all resources converged, otherwise a table of what was done, what failed and what did not
begin.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from IPython.display import display

from airflowaks.engine.changes import CHANGES_MIME
from airflowaks.engine.results import Display, Progress
from airflowaks.engine.table import Table
from airflowaks.notebook.refresher import Refresher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflowaks.engine.changes import Change
    from airflowaks.engine.resource import Resource

_MOST_NAMED = 3


def _in_output(line: Table) -> Callable[[Table], None]:
    handle = display(line, display_id=True)  # type: ignore[no-untyped-call]  # IPython's lacks them
    update: Callable[[Table], None] = handle.update
    return update


class NotebookDisplay(Display):
    """Shows progress in the output of the cell that runs, in JupyterLab and headless.

    Or elsewhere: `begin` takes the first line and returns a function that takes each later line.
    """

    def __init__(self, begin: Callable[[Table], Callable[[Table], None]] = _in_output) -> None:
        self._begin = begin

    @contextmanager
    def watch(self, resources: Sequence[Resource]) -> Iterator[_Watch]:
        """Show progress of `resources` until the block ends."""
        watch = _Watch(resources)
        update = self._begin(watch.line())
        last = watch.table
        try:
            with Refresher(lambda: update(watch.line())):
                yield watch
            last = watch.last_line
        finally:
            update(last())


class _Watch(Progress):
    """What has begun, ended and failed so far."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = tuple(resources)
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._running: dict[Resource, float] = {}
        self._done: dict[Resource, Change] = {}
        self._failed: set[Resource] = set()

    def began(self, resource: Resource) -> None:
        """Note that work on `resource` began."""
        with self._lock:
            self._running[resource] = time.monotonic()

    def ended(self, resource: Resource, change: Change) -> None:
        """Note that `resource` is as `change` says."""
        with self._lock:
            del self._running[resource]
            self._done[resource] = change

    def failed(self, resource: Resource) -> None:
        """Note that `resource` could not be read or written."""
        with self._lock:
            del self._running[resource]
            self._failed.add(resource)

    def line(self) -> Table:
        """Return the line to show while resources converge."""
        now = time.monotonic()
        with self._lock:
            done = f"{len(self._done)} of {len(self._resources)} done"
            running = [f"{_activity(resource)} ({now - begun:.0f} s)" for resource, begun in self._running.items()]
        more = len(running) - _MOST_NAMED
        named = ", ".join(running[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        return Table((), (), note=f"{done} · {named}" if named else done)

    def last_line(self) -> Table:
        """Return the line that stays if all resources converged."""
        count = "1 resource" if len(self._done) == 1 else f"{len(self._done)} resources"
        return Table((), (), note=f"{count} in {time.monotonic() - self._started:.1f} s")

    def table(self) -> Table:
        """Return the table that stays after a failure or an interrupt."""
        rows = [(self._state(each), each.kind, each.name, self._seconds(each)) for each in self._resources]
        records = [change.record() for change in self._done.values()]
        return Table(("", "resource", "name", "s"), rows, "How far it came", data={CHANGES_MIME: records})

    def _state(self, resource: Resource) -> str:
        if change := self._done.get(resource):
            return f"{change.action.symbol} done"
        if resource in self._failed:
            return "FAILED"
        return "interrupted" if resource in self._running else "not begun"

    def _seconds(self, resource: Resource) -> str:
        change = self._done.get(resource)
        return f"{change.seconds:.1f}" if change else ""


def _activity(resource: Resource) -> str:
    named = f"{resource.kind} {resource.name}"
    return f"{named}: {resource.activity}" if resource.activity else named
