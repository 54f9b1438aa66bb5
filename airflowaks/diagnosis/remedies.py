"""Fixes in Airflow itself, through its REST API: clear lost tasks, unpause DAGs, raise pools.

Each looks again before it writes, so a second time changes nothing. A plan shows what it would change.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.diagnosis.readers.airflow import sign_in
from airflowaks.diagnosis.readers.failed import Instance, failed_by_the_scheduler
from airflowaks.diagnosis.written import written
from airflowaks.engine.changes import Changes, Difference
from airflowaks.engine.times import seconds_since
from airflowaks.steps import api_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflowaks.cloud.airflow_api import AirflowApi
    from airflowaks.session import Session

_LOST_SECONDS, _SENT_SECONDS = 86_400.0, 60.0
# Airflow's `maximum_page_limit`, and how many pages one fix takes: what is left, the next one does.
_PAGE, _MOST_PAGES = 100, 20


def clear_silent_tasks(session: Session) -> Changes:
    """Clear the tasks that the scheduler has failed in the last day for want of a heartbeat; they are queued again."""
    return _clear(session, failed_by_the_scheduler(session, ("heartbeat timeout",), _LOST_SECONDS))


def clear_lost_tasks(session: Session) -> Changes:
    """Clear the tasks that the scheduler has failed in the last day, which no worker began; they are queued again."""
    events = ("state mismatch", "stuck in queued tries exceeded")
    return _clear(session, failed_by_the_scheduler(session, events, _LOST_SECONDS))


def queue_again(session: Session) -> Changes:
    """Clear the tasks that have been queued for a minute; they are queued again.

    A cleared task has a new ID, so that a worker which still gets the old message runs nothing.
    """
    with _signed_in(session) as api:
        queued = [
            Instance(task["dag_id"], task["dag_run_id"], task["task_id"], task["map_index"])
            for task in api.each_task("queued", _PAGE, _MOST_PAGES)
            if task["queued_when"] and seconds_since(task["queued_when"]) > _SENT_SECONDS
        ]
    return _clear(session, queued, "queued")


def unpause(session: Session, dag: str) -> Changes:
    """Unpause a DAG, whose runs go on then."""
    with _signed_in(session) as api:
        if not api.dag(dag)["is_paused"]:
            return Changes()
        difference = Difference("is_paused", before=True, after=False)
        return written(session, _named("DAG", dag), [difference], lambda: api.unpause(dag))


def raise_pool(session: Session, pool: str, slots: int) -> Changes:
    """Give a pool as many slots, if it has fewer."""
    with _signed_in(session) as api:
        before = api.slots(pool)
        if before >= slots:
            return Changes()
        difference = Difference("slots", before, slots)
        return written(session, _named("pool", pool), [difference], lambda: api.set_slots(pool, slots))


def _clear(session: Session, tasks: Sequence[Instance], state: str = "failed") -> Changes:
    """Clear tasks that are in a state, those of a run at once."""
    runs: dict[tuple[str, str], list[Instance]] = {}
    for task in tasks:
        runs.setdefault((task.dag, task.run), []).append(task)
    changes = Changes()
    if runs:
        with _signed_in(session) as api:
            for (dag, run), cleared in runs.items():
                names = [(task.task, task.map_index) for task in cleared]
                write = partial(api.clear, dag, run, names, failed=state == "failed")
                differences = [Difference(f"{task.name}.state", state, "cleared") for task in cleared]
                changes += written(session, _named("run", f"{dag}/{run}"), differences, write)
    return changes


def _named(kind: str, name: str) -> tuple[str, str, str]:
    return kind, name, f"airflow/{kind}/{name}"


@contextmanager
def _signed_in(session: Session) -> Iterator[AirflowApi]:
    with api_server.api(session) as api:
        sign_in(session, api)
        yield api
