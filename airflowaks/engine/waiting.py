"""Waiting, in a deployment, for what another step is making at the same time.

A session that `waits` looks at a resource in the cloud until it exists and is up to date. Nothing else connects the
steps: what another program makes, or another deployment, counts as much.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.engine.assessment import assess
from airflowaks.engine.changes import Action, Change
from airflowaks.engine.polling import wait_until
from airflowaks.engine.results import Results
from airflowaks.engine.waits import Wait
from airflowaks.errors import MissingDependency

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session

_LONGEST_SECONDS = 3600.0
"""Longer than all steps take on Azure."""
_WORTH_TELLING_SECONDS = 0.5


def await_others(session: Session, *resources: Resource) -> None:
    """Return when `resources` exist and are up to date, in a session that waits; in any other return at once.

    Raises:
        MissingDependency: one of them does not exist after an hour, or the wait was interrupted.

    """
    if not session.waits or all(resource.settled for resource in resources):
        return
    results = session.memoize(Results)
    with results.display.watch(resources) as progress:
        for resource in resources:
            progress.began(resource)
            try:
                _await(session, resource, "", partial(setattr, resource, "activity"))
            except BaseException:
                progress.failed(resource)
                raise
            progress.ended(resource, Change(kind=resource.kind, name=resource.name, action=Action.NONE, id=resource.id))


def await_needs(resource: Resource) -> None:
    """Return when what `resource` depends on is there, in a session that waits. Raises as `await_others` does."""
    if resource.session.waits:
        for need in (*resource.depends_on, *resource.needs):
            _await(resource.session, need, str(resource), partial(setattr, resource, "activity"))


def _await(session: Session, resource: Resource, waiter: str, tell: Callable[[str], None]) -> None:
    if resource.settled:
        return
    for need in resource.depends_on:
        _await(session, need, waiter, tell)
    began = time.time()
    tell(f"waits for {resource} (step {resource.step})" if waiter else f"waits for step {resource.step}")
    try:
        with resource.awaiting, session.translated(resource):  # one thread looks for all that wait for it
            wait_until(lambda: _look(resource), bool, _LONGEST_SECONDS, stop=session.stopping)
    finally:
        tell("")
        seconds = time.time() - began
        if seconds > _WORTH_TELLING_SECONDS:
            wait = Wait(resource=str(resource), step=resource.step, began=began, seconds=seconds, waiter=waiter)
            session.memoize(Results).waits.append(wait)
    if not resource.settled:
        message = f"{resource} (step {resource.step}) does not exist, or is not up to date, after {seconds:.0f} s."
        raise MissingDependency(message, "See the record of that step, then run the deployment again.")


def _look(resource: Resource) -> bool:
    """Read a resource and return whether its step has nothing to do to it any more."""
    if not resource.settled:
        facts = resource.refresh()
        if facts is None or resource.unfinished(facts):
            return False
        action, _ = assess(resource)
        resource.settled = action in (Action.NONE, Action.KEEP)
        if not resource.settled:  # what is desired may follow from what is not there yet
            for need in resource.needs:
                need.refresh()
    return resource.settled
