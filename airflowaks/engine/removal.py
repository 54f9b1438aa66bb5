"""Removing resources: converge's counterpart.

    read → (apply) delete → read again

In plan and check nothing is removed. A resource that does not exist counts as removed, so a removal can run again. An
adopted resource stays.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflowaks.engine.changes import Action, Change
from airflowaks.engine.converge import act_on
from airflowaks.engine.polling import wait_until
from airflowaks.engine.resource import ADOPTED
from airflowaks.errors import NotConverged

if TYPE_CHECKING:
    from airflowaks.engine.changes import Changes
    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session


def remove(session: Session, *resources: Resource) -> Changes:
    """Remove resources one after another, in their order.

    Raises:
        AirflowAksError: a resource could not be read or removed, or is still there afterwards.
        TypeError: one of them exists and has no `delete`.

    """
    graph = {resource: resources[:index] for index, resource in enumerate(resources)}
    return act_on(session, graph, _remove)


def _remove(session: Session, resource: Resource) -> Change:
    started, correlation_id = time.time(), ""
    with session.translated(resource):
        action = Action.NONE if resource.refresh() is None else Action.DELETE
        named, origin = resource.id, resource.origin
        if origin == ADOPTED:
            action = Action.KEEP
        applied = session.applies and action is Action.DELETE
        if applied:
            with session.correlated() as correlation:
                resource.delete()
            correlation_id = correlation.id
            if wait_until(resource.refresh, lambda now: now is None, resource.settling_seconds) is not None:
                message = f"{resource} was deleted and still exists."
                raise NotConverged(message, "Run it again; a lock or a policy may be keeping it.")
    return Change(
        kind=resource.kind,
        name=resource.name,
        action=action,
        id=named,
        began=started,
        seconds=time.time() - started,
        correlation_id=correlation_id,
        applied=applied,
        origin=origin,
    )
