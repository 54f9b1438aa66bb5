"""Converge: bring resources to their desired state. Only here do plan, apply and check differ.

    read → compare → (apply) write → read again → wait until it works

Plan and check read and compare, and write nothing. A check answers every caller the same: what the caller has no right
to read is said to be unread, and is no failure.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from airflowaks.engine.assessment import assess
from airflowaks.engine.changes import Action, Change, Changes, is_unknown
from airflowaks.engine.graph import run_in_order
from airflowaks.engine.polling import wait_until
from airflowaks.engine.results import Results
from airflowaks.engine.waiting import await_needs
from airflowaks.errors import AirflowAksError, MissingDependency, NotConverged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflowaks.engine.changes import Difference
    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session


def converge(session: Session, *resources: Resource) -> Changes:
    """Bring resources to their desired state, in parallel where they do not depend on each other.

    Plan and check write nothing. After a failure no other resource begins; running ones end, their changes are in the
    session's `Results`, and the first failure is raised.

    Raises:
        AirflowAksError: a resource could not be read or written, or did not reach its desired state.

    """
    graph = {
        resource: [need for need in (*resource.depends_on, *resource.needs) if need in resources]
        for resource in resources
    }
    return act_on(session, graph, _converge)


def act_on(
    session: Session, graph: Mapping[Resource, Iterable[Resource]], act: Callable[[Session, Resource], Change]
) -> Changes:
    """Call `act` with each resource of `graph` in the order of its dependencies; show progress, keep the changes."""
    results = session.memoize(Results)
    changes: dict[Resource, Change] = {}
    with results.display.watch(tuple(graph)) as progress, ExitStack() as ended:
        # Not before: work that was interrupted may begin to wait, and has to see it.
        ended.callback(session.stopping.clear)

        def begin(resource: Resource) -> Change:
            progress.began(resource)
            return _or_unread(session, resource, act)

        for resource, future in run_in_order(graph, begin, on_interrupt=session.stopping.set):
            if future.exception():
                progress.failed(resource)
                continue
            changes[resource] = future.result()
            results.changes.append(changes[resource])
            progress.ended(resource, changes[resource])
    return Changes(changes[resource] for resource in graph)


def _or_unread(session: Session, resource: Resource, act: Callable[[Session, Resource], Change]) -> Change:
    """Call `act`; in a check, a resource that the caller has no right to read is an unread one."""
    started = time.time()
    try:
        return act(session, resource)
    except AirflowAksError as error:
        if session.mode != "check" or not error.needs:
            raise
        seconds = time.time() - started
        return Change(
            kind=resource.kind,
            name=resource.name,
            action=Action.UNREAD,
            id="",
            began=started,
            seconds=seconds,
            unread=error.needs,
        )


def _converge(session: Session, resource: Resource) -> Change:
    await_needs(resource)
    return _converge_awaited(session, resource, time.time())


def _converge_awaited(session: Session, resource: Resource, started: float) -> Change:
    from azure.core.exceptions import ResourceExistsError

    with session.translated(resource):
        facts = resource.refresh()
        if facts is not None and session.applies and resource.unfinished(facts):
            seconds = resource.finishing_seconds
            facts = wait_until(resource.refresh, lambda now: now is None or not resource.unfinished(now), seconds)
            _check_finished(resource, seconds)
        action, differences = assess(resource)
        writes = session.applies and action in (Action.CREATE, Action.UPDATE)
        correlation_id = ""
        if writes:
            _check_ready(resource, differences)
            with session.correlated() as correlation:
                try:
                    resource.write(facts)
                except ResourceExistsError:
                    if facts is not None or resource.refresh() is None:
                        raise
                    # Another run creates it, and had not begun when this one read it.
                    return _converge_awaited(session, resource, started)
            correlation_id, resource.written = correlation.id, True
            wait_until(resource.refresh, lambda _: not resource.differences(), resource.settling_seconds)
            _check_converged(resource)

        def change() -> Change:
            return Change(
                kind=resource.kind,
                name=resource.name,
                action=action,
                id=resource.id,
                differences=differences,
                began=started,
                seconds=time.time() - started,
                correlation_id=correlation_id,
                applied=writes,
                unread=resource.unread,
                origin=resource.origin,
                note=resource.note,
            )

        if session.applies:
            try:
                resource.await_ready()
            except AirflowAksError:
                # The resource was written, although it does not work.
                session.memoize(Results).changes.append(change())
                raise
    resource.settled = True
    return change()


def _check_ready(resource: Resource, differences: tuple[Difference, ...]) -> None:
    unknown = [difference.path for difference in differences if is_unknown(difference.after)]
    lacks = [f"a value for {path}" for path in unknown if path not in resource.decided_by_service]
    if resource.parent is not None and resource.parent.facts is None:
        lacks = [f"{resource.parent}, which does not exist"]
    if lacks:
        action = "Run the steps before this one with mode=apply first."
        raise MissingDependency(f"{resource} needs {lacks[0]}.", action)


def _check_finished(resource: Resource, seconds: float) -> None:
    if resource.facts is not None and resource.unfinished(resource.facts):
        minutes = f"{seconds / 60:.0f} minutes"
        message = f"{resource} is still being written by an earlier run or another tool, after {minutes}."
        raise NotConverged(message, "See its activity log in the portal for what holds it up, then run the step again.")


def _check_converged(resource: Resource) -> None:
    left = resource.differences()
    if resource.facts is None or left:
        now = "it does not exist" if resource.facts is None else "; ".join(map(str, left))
        message = f"{resource} was written and still reads differently: {now}."
        raise NotConverged(message, "Run the step again; if it stays so, a policy or another tool is changing it back.")
