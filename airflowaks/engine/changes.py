"""The changes that converge plans or makes, and their table.

`+` create, `~` update, `-` delete, `=` up to date or left as it is, `?` not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflowaks.cloud.redaction import MASK, Secret
from airflowaks.engine.table import Table, Tabular

CHANGES_MIME = "application/vnd.airflowaks.changes+json"
_LONGEST_VALUE = 60
# An image's digest is never cut: operators copy it to roll back to the image.
_DIGEST = "@sha256:"


class Placeholder:
    """Stands for a value that does not exist yet, and shows as `text`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


AFTER_APPLY: Any = Placeholder("(known after apply)")
"""A value that does not exist before apply: an object ID, a host name, a key."""


def is_unknown(value: Any) -> bool:
    """Tell whether a value, or anything in it, is AFTER_APPLY."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return any(map(is_unknown, value)) if isinstance(value, (list, tuple)) else value is AFTER_APPLY


class Action(StrEnum):
    """What happens to a resource."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    NONE = "none"
    KEEP = "keep"
    UNREAD = "unread"

    @property
    def symbol(self) -> str:
        """Return the sign in front of a row."""
        return {"create": "+", "update": "~", "delete": "-", "none": "=", "keep": "=", "unread": "?"}[self.value]


@dataclass(frozen=True)
class Difference:
    """One property that differs from the environment: its dotted path, the current value and the desired value."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {show(self.before)} → {show(self.after)}"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happened, or would happen, to one resource.

    `applied` tells the two apart; `began` is when that was (seconds since 1970) and `seconds` how long reading and
    writing took; `correlation_id` is Azure's
    `x-ms-correlation-request-id` of the last write, which support asks for. `unread` is what a check could not compare,
    and the right that this needs. `origin` says whether the runbook made the resource. `note` is a sentence that the
    operator should read about it.
    """

    kind: str
    name: str
    action: Action
    id: str
    differences: tuple[Difference, ...] = ()
    began: float = 0.0
    seconds: float = 0.0
    correlation_id: str = ""
    applied: bool = False
    unread: str = ""
    origin: str = ""
    note: str = ""

    @property
    def pending(self) -> bool:
        """Whether an apply would still have to make it."""
        return self.action in (Action.CREATE, Action.UPDATE, Action.DELETE) and not self.applied

    def record(self) -> dict[str, Any]:
        """Return the change as JSON, secret values masked."""
        differences = [
            {"path": difference.path, "before": show(difference.before), "after": show(difference.after)}
            for difference in self.differences
        ]
        seconds = round(self.seconds, 2)
        return {**vars(self), "action": self.action.value, "differences": differences, "seconds": seconds}


class Changes(Tabular, tuple[Change, ...]):
    """The changes of a step, in the order in which they were asked for; shows itself as a table."""

    __slots__ = ()

    def __add__(self, other: tuple[Any, ...]) -> Changes:
        return Changes((*self, *other))

    @property
    def pending(self) -> Changes:
        """Return those that an apply would still have to make."""
        return Changes(change for change in self if change.pending)

    def count(self, action: Action) -> int:
        """Return how many changes are of that action."""
        return sum(change.action is action for change in self)

    def summary(self) -> str:
        """Return the counts in one line."""
        if not self:
            return "No changes."
        verbs = {"create": "created", "update": "updated", "delete": "deleted"}
        done = [f"{self._count(action, applied=True)} {verb}" for action, verb in verbs.items()]
        todo = [f"{self._count(action, applied=False)} to {action}" for action in verbs]
        parts = [part for part in (*done, *todo) if not part.startswith("0 ")]
        others = [f"{self.count(Action.KEEP)} adopted and left", f"{self.count(Action.UNREAD)} not read"]
        parts += [f"{self.count(Action.NONE)} up to date", *(part for part in others if not part.startswith("0 "))]
        return ", ".join(parts) + "."

    def table(self, title: str = "") -> Table:
        """Return the table: one row a resource, its differences below it, and the notes under the counts."""
        rows = []
        for change in self:
            seconds = f"{change.seconds:.1f}"
            rows.append(
                (change.action.symbol, change.kind, change.name, _detail(change), seconds, change.correlation_id)
            )
            if change.action in (Action.UPDATE, Action.KEEP, Action.DELETE):
                rows += [("", "", "", str(difference), "", "") for difference in change.differences]
        records = {CHANGES_MIME: [change.record() for change in self]}
        note = "\n".join((self.summary(), *(change.note for change in self if change.note)))
        return Table(("", "resource", "name", "change", "s", "correlation ID"), rows, title, note, records)

    def _count(self, action: str, *, applied: bool) -> int:
        return sum(change.action.value == action and change.applied is applied for change in self)


def show(value: Any) -> str:
    """Return a value for a table: secrets masked, nothing as `(none)`, long ones cut but for those with a digest."""
    if isinstance(value, Secret):
        return MASK
    if value is None:
        return "(none)"
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(show(item) for item in value) + "]"
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST_VALUE or _DIGEST in text else f"{text[: _LONGEST_VALUE - 1]}…"


def _detail(change: Change) -> str:
    match change.action:
        case Action.UNREAD:
            return f"not read, needs {change.unread}"
        case Action.KEEP:
            return f"stays ({change.origin})"
        case Action.NONE:
            detail = f"up to date ({change.origin})" if change.origin else "up to date"
            return f"{detail}, but {change.unread}" if change.unread else detail
        case Action.UPDATE:
            return "updated" if change.applied else "to update"
        case Action.CREATE:
            return "created" if change.applied else "to create"
        case Action.DELETE:
            detail = "deleted" if change.applied else "to delete"
            return f"{detail} ({change.origin})" if change.origin else detail
