"""Observing from outside that a step really works."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflowaks.engine.checks import Check, Checks
from airflowaks.engine.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflowaks.session import Session


def observe(session: Session, observations: Mapping[str, Callable[[], str]]) -> Checks:
    """Make the observations of a step in parallel, keep them in the session's `Results`, and return them.

    An observation returns what it saw; what it raises makes a failed check. A plan makes none: nothing need exist yet.
    Nor does a session in mode check make those whose rights the caller lacks: it answers every caller the same.
    """

    def make(name: str, observation: Callable[[], str]) -> Check:
        if session.mode == "plan":
            return Check(name=name, passed=None, seen="a plan looks at nothing")
        started = time.time()
        try:
            seen, passed, action = session.redactor.redact(observation()), True, ""
        except Exception as raised:  # noqa: BLE001 - whatever went wrong is what the check has seen
            error = session.translate(raised, name)
            seen, passed, action = session.redactor.redact(error.message), False, error.action
            if session.mode == "check" and error.needs:
                seen, passed, action = f"not made, needs {error.needs}", None, ""
        seconds = time.time() - started
        return Check(name=name, passed=passed, seen=seen, action=action, began=started, seconds=seconds)

    with ThreadPoolExecutor() as pool:
        checks = Checks(pool.map(lambda item: make(*item), observations.items()))
    session.memoize(Results).checks.extend(checks)
    return checks
