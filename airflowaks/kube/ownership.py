"""Who owns an object's fields, and whether an apply takes them over.

An apply is refused where another field manager has set another value; a forced one takes the fields over. Source:
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflowaks.errors import FieldConflict
from airflowaks.kube.client import FIELD_MANAGER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflowaks.session import Session

# The parts of the path of a difference: members, and in brackets the names of list elements and of odd members.
_PART = re.compile(r"\[(?P<quoted>[^]]*)\]|(?P<member>[^.[]+)")


class Ownership:
    """Whether the applies of a session, and their dry runs, take over what other field managers own."""

    def __init__(self, _session: Session) -> None:
        self.is_taken = False


@contextmanager
def taking_over(session: Session) -> Iterator[None]:
    """Have applies take fields over from other managers for the time being; a plan shows what they would set."""
    ownership = session.memoize(Ownership)
    ownership.is_taken = True
    try:
        yield
    finally:
        ownership.is_taken = False


def holder(document: Mapping[str, Any], path: str) -> str:
    """Return who else has set the field at the path of a difference, and when; empty if nobody has."""
    parts = [match["member"] or match["quoted"] for match in _PART.finditer(path)]
    held = [
        f"{entry['manager']} at {entry.get('time', 'an unknown time')}"
        for entry in document["metadata"].get("managedFields", ())
        if entry["manager"] != FIELD_MANAGER and _has(entry.get("fieldsV1", {}), parts, document)
    ]
    return held[-1] if held else ""


def dated(conflict: FieldConflict, document: Mapping[str, Any] | None) -> FieldConflict:
    """Return a conflict that also says when the managers that it names have written the object last."""
    entries = document["metadata"].get("managedFields", ()) if document else ()
    times = {entry["manager"]: entry.get("time") for entry in entries if f'"{entry["manager"]}"' in conflict.message}
    written = ", ".join(f"{manager} at {time}" for manager, time in times.items())
    message = f"{conflict.message} Last writes: {written}." if written else conflict.message
    return FieldConflict(message, conflict.action, conflict.status, conflict.reason)


def _has(fields: Mapping[str, Any], parts: Sequence[str], value: Any) -> bool:
    """Tell whether a set of fields has the field of `value` at the path, or one above it.

    It names members `f:<name>`, and elements of a list `k:` with the members that identify them, as JSON.
    """
    for part in parts:
        if isinstance(value, list):
            value = next((item for item in value if isinstance(item, Mapping) and item.get("name") == part), {})
            name = next((key for key in fields if key[:2] == "k:" and _identifies(key[2:], value)), "")
        else:
            value, name = value.get(part) if isinstance(value, Mapping) else None, f"f:{part}"
        if name not in fields:
            return False
        fields = fields[name]
        if not fields:
            break
    return True


def _identifies(key: str, item: Mapping[str, Any]) -> bool:
    members: dict[str, Any] = json.loads(key)
    return members.items() <= item.items()
