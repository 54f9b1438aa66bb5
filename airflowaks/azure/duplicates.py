"""Objects of the tenant that share a display name, as Entra allows, and which of them stays: the oldest.

Two runs that create an object by its name at once, or one after a lost answer, make several. Every run reads the same
times and IDs, so each of them keeps the same object without asking the others.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflowaks.engine.polling import REPLICATION_SECONDS, wait_until
from airflowaks.engine.times import seconds_since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflowaks.engine.resource import Facts

_ANSWERS = 10
"""In a row, as https://github.com/hashicorp/terraform-provider-azuread/pull/283 asks Graph's replicas."""
_SAME_SECOND = 1.0
"""`createdDateTime` has whole seconds: an object of a run that begins this much later may count as the older one."""
_SETTLING_SECONDS = 60.0


def by_age(objects: Iterable[Facts]) -> list[Facts]:
    """Return the objects, oldest first. The ID decides within a second, so that all runs agree."""
    return sorted(objects, key=lambda each: (str(each["createdDateTime"]), str(each["id"])))


def being_removed(newer: Iterable[Facts]) -> bool:
    """Tell whether the run that created each of these may still remove it, or Graph still list it."""
    return all(seconds_since(str(each["createdDateTime"])) < REPLICATION_SECONDS for each in newer)


def settled(own: Facts, ask: Callable[[], list[Facts]]) -> list[Facts]:
    """Return the objects of the name that are made for the environment, oldest first, once `own` was created.

    `ask` lists them, until ten answers in a row, over at least a second, list the same ones: the new one, or an older
    one instead of it. A replica that has the newest write has those before it (believed), and an object that was
    deleted a moment ago is not in all answers. Where they differ for a minute there is `own` alone, and the next run
    reports what is left.
    """
    seen: list[tuple[float, list[str]]] = []

    def listed() -> list[Facts]:
        objects = by_age(ask())
        ids = [str(each["id"]) for each in objects]
        counts = own["id"] in ids or by_age([*objects, own])[0] is not own
        if not counts or (seen and seen[-1][1] != ids):
            seen.clear()
        if counts:
            seen.append((time.monotonic(), ids))
        return objects

    def is_stable(_: object) -> bool:
        return len(seen) >= _ANSWERS and seen[-1][0] - seen[0][0] >= _SAME_SECOND

    objects = wait_until(listed, is_stable, _SETTLING_SECONDS)
    return objects if is_stable(objects) else [own]
