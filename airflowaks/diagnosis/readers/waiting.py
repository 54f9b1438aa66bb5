"""Reads from the metadata database what waits in Airflow, and what it waits for: the REST API has no totals of these.

The connection is read-only, and a statement ends after ten seconds. No query returns a row for each task.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis.facts.waiting import Holder, Slots, Wait, Waiting
from airflowaks.diagnosis.readers import waiting_queries as queries
from airflowaks.diagnosis.readers.backend import opened_database
from airflowaks.diagnosis.readers.shared import shared
from airflowaks.kube.client import Reference
from airflowaks.kube.client import connect as reach

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflowaks.diagnosis.readers.backend import OpenDatabase
    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.session import Session

LONG_SECONDS = 300.0
"""A wait of less is none: a worker more, perhaps on a new node, takes minutes."""
_MOST_GROUPS = 200
_FIELDS = {field.name for field in fields(Wait)}
# https://airflow.apache.org/docs/apache-airflow/stable/configurations-ref.html#parallelism; the other is set in
# airflow/providers/celery/executors/default_celery.py
_PARALLELISM, _VISIBILITY_SECONDS = 32, 86_400
_VISIBILITY = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"


def waits(database: OpenDatabase, dag: str = "", run: str = "", task: str = "") -> tuple[Wait, ...]:
    """Return what waits of a DAG, a run or a task, or what has waited too long in all of Airflow."""
    values = {"dag": dag, "run": run, "task": task, "floor": LONG_SECONDS, "most": _MOST_GROUPS}
    rows = database.rows(queries.TASKS, **values)
    if not task:
        rows = [*database.rows(queries.DAGS, **values), *database.rows(queries.RUNS, **values), *rows]
    return tuple(map(_wait, rows))


def waiting(session: Session, scope: Scope) -> dict[str, Any]:
    """Read what has waited longer than usual, and the slots that tasks share."""
    configured, workers_of = shared(session, settings, scope), session.environment.airflow.workers_of
    database = shared(session, opened_database)
    pools = {row["name"]: row for row in database.rows(queries.POOLS)}
    jobs = {row["type"]: row for row in database.rows(queries.JOBS)}
    holders = _holders(database, "pool", "running", "queued", "deferred")
    running = _holders(database, "queue", "running")
    (active,) = database.rows(queries.ACTIVE)
    facts = Waiting(
        waits=waits(database),
        pools={
            name: Slots(row["total"], row["taken"], holders.get(name, Slots()).holders) for name, row in pools.items()
        },
        queues=running,
        heartbeats={kind: row["seconds"] for kind, row in jobs.items()},
        hosts={row["host"]: row["seconds"] for row in database.rows(queries.HOSTS)},
        schedulers=jobs.get("SchedulerJob", {"count": 0})["count"],
        **active,
        longest=next((Holder(**row) for row in database.rows(queries.LONGEST)), None),
        parallelism=int(number(configured, "AIRFLOW__CORE__PARALLELISM", _PARALLELISM)),
        concurrency={workers.queue: workers.settings.concurrency for workers in workers_of.values()},
        visibility_seconds=number(configured, _VISIBILITY, _VISIBILITY_SECONDS),
    )
    return {"waiting": facts}


def settings(session: Session, scope: Scope) -> dict[str, str]:
    """Return the settings of all of Airflow; its API does not return them (`[api] expose_config` is off)."""
    reference = Reference("v1", "ConfigMap", "airflow-configuration", scope.namespace)
    data: dict[str, str] = (session.memoize(reach).get(reference) or {}).get("data", {})
    return data


def number(configured: Mapping[str, str], name: str, default: float) -> float:
    """Return a number of the settings, or the default where there is none: that Airflow refuses it is AKA-721."""
    try:
        return float(configured[name])
    except (KeyError, ValueError):
        return default


def _holders(database: OpenDatabase, column: str, *states: str) -> dict[str, Slots]:
    holders: dict[str, list[Holder]] = {}
    taken = {}
    for row in database.rows(queries.HOLDERS.replace("COLUMN", column), states=list(states)):
        name = row["name"]
        taken[name] = row["taken"]
        holder = Holder(row["dag"], row["task"], row["count"], row["seconds"] or 0.0, sensor=row["sensor"])
        holders.setdefault(name, []).append(holder)
    return {name: Slots(0, taken[name], tuple(listed)) for name, listed in holders.items()}


def _wait(row: dict[str, Any]) -> Wait:
    values: dict[str, Any] = {name: value for name, value in row.items() if name in _FIELDS and value is not None}
    if "running_runs" in values:
        values["running_runs"] = tuple(values["running_runs"])
    return Wait(**values)
