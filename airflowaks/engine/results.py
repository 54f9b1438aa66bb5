"""What a session has changed, checked and waited for, and where it shows progress: `session.memoize(Results)`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflowaks.engine.changes import Change
    from airflowaks.engine.checks import Check
    from airflowaks.engine.resource import Resource
    from airflowaks.engine.waits import Wait
    from airflowaks.session import Session


class Progress:
    """Watches long work: one call as work on each resource begins and ends. This one shows nothing."""

    def began(self, resource: Resource) -> None: ...  # noqa: D102 - the class says it
    def ended(self, resource: Resource, change: Change) -> None: ...  # noqa: D102
    def failed(self, resource: Resource) -> None: ...  # noqa: D102


class Display:
    """Where progress shows: here nowhere, which is for programs; notebooks show a line that is updated."""

    def watch(self, resources: Sequence[Resource]) -> AbstractContextManager[Progress]:
        """Show progress of `resources` until the context ends."""
        del resources
        return nullcontext(Progress())


class Results:
    """The changes, checks and waits of a session, in the order in which they were made."""

    def __init__(self, _session: Session) -> None:
        self.changes: list[Change] = []
        self.checks: list[Check] = []
        self.waits: list[Wait] = []
        self.display: Display = Display()
