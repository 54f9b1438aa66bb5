"""What a session has changed and checked so far, and where it shows progress: `session.memoize(Results)`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from airflowaks.engine.changes import Change
    from airflowaks.engine.checks import Check
    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session


class Progress(Protocol):
    """Watches long work: one call as work on each resource begins and ends."""

    def began(self, resource: Resource) -> None: ...  # noqa: D102 - the class says it
    def ended(self, resource: Resource, change: Change) -> None: ...  # noqa: D102
    def failed(self, resource: Resource) -> None: ...  # noqa: D102


class Display(Protocol):
    """Where progress shows: notebooks show a line that is updated, programs show nothing."""

    def watch(self, resources: Sequence[Resource]) -> AbstractContextManager[Progress]: ...  # noqa: D102 - as above


class _NoDisplay:
    """Shows no progress."""

    @contextmanager
    def watch(self, resources: Sequence[Resource]) -> Iterator[Progress]:
        del resources
        yield self

    def began(self, resource: Resource) -> None: ...
    def ended(self, resource: Resource, change: Change) -> None: ...
    def failed(self, resource: Resource) -> None: ...


class Results:
    """The changes and checks of a session, in the order in which they were made."""

    def __init__(self, _session: Session) -> None:
        self.changes: list[Change] = []
        self.checks: list[Check] = []
        self.display: Display = _NoDisplay()
