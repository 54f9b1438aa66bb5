"""Changes of fixes and everyday commands, which no step has a resource for: made in an apply, always recorded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflowaks.engine.changes import Action, Change, Changes
from airflowaks.engine.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflowaks.engine.changes import Difference
    from airflowaks.session import Session


def written(
    session: Session,
    thing: tuple[str, str, str],
    differences: Sequence[Difference],
    write: Callable[[], object],
    action: Action = Action.UPDATE,
) -> Changes:
    """Call `write` in an apply, and record the change of `thing`, which is its kind, name and ID."""
    began, started = time.time(), time.monotonic()
    if session.applies:
        write()
    kind, name, identity = thing
    change = Change(
        kind=kind,
        name=name,
        action=action,
        id=identity,
        differences=tuple(differences),
        began=began,
        seconds=time.monotonic() - started,
        applied=session.applies,
    )
    session.memoize(Results).changes.append(change)
    return Changes((change,))
