"""Reads from the metadata database what waits in Airflow, and what it waits for: the REST API has no totals of these.

The connection is read-only, and a statement ends after ten seconds. No query returns a row for each task.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from airflowaks.azure.database_role import connect
from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.diagnosis.facts.waiting import Holder, Slots, Wait, Waiting
from airflowaks.diagnosis.readers import waiting_queries as queries
from airflowaks.kube.client import Reference
from airflowaks.kube.client import connect as reach
from airflowaks.steps import backend, key_vault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.session import Session

LONG_SECONDS = 300.0
"""A wait of less is none: a worker more, perhaps on a new node, takes minutes."""
_MOST_GROUPS = 200
_STATEMENT_MS = 10_000
_FIELDS = {field.name for field in fields(Wait)}
# https://airflow.apache.org/docs/apache-airflow/stable/configurations-ref.html#parallelism; the other is set in
# airflow/providers/celery/executors/default_celery.py
_PARALLELISM, _VISIBILITY_SECONDS = 32, 86_400
_VISIBILITY = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"


class Database:
    """Airflow's metadata database, open for reading."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, query: Any, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query by their columns' names."""
        from psycopg.rows import dict_row

        rows: list[dict[str, Any]] = self._connection.cursor(row_factory=dict_row).execute(query, values).fetchall()
        return rows

    def waits(self, dag: str = "", run: str = "", task: str = "") -> tuple[Wait, ...]:
        """Return what waits of a DAG, a run or a task, or what has waited too long in all of Airflow."""
        values = {"dag": dag, "run": run, "task": task, "floor": LONG_SECONDS, "most": _MOST_GROUPS}
        rows = self.rows(queries.TASKS, **values)
        if not task:
            rows = [*self.rows(queries.DAGS, **values), *self.rows(queries.RUNS, **values), *rows]
        return tuple(map(_wait, rows))


@contextmanager
def opened(session: Session) -> Iterator[Database]:
    """Open Airflow's metadata database for reading, with the vault's URL."""
    secret = session.memoize(key_vault.Resources).sql_connection
    with session.translated(secret):
        url = DatabaseUrl.parse(secret.require("value").reveal())
    server = session.memoize(backend.Resources).server
    with connect(server, url.database, url.user, url.password) as connection:
        connection.read_only = True
        connection.execute(f"SET statement_timeout = {_STATEMENT_MS}")
        yield Database(connection)


def waiting(session: Session, scope: Scope) -> dict[str, Any]:
    """Read what has waited longer than usual, and the slots that tasks share."""
    configured, workers_of = settings(session, scope), session.environment.airflow.workers_of
    with opened(session) as database:
        pools = {row["name"]: row for row in database.rows(queries.POOLS)}
        jobs = {row["type"]: row for row in database.rows(queries.JOBS)}
        holders = _holders(database, "pool", "running", "queued", "deferred")
        running = _holders(database, "queue", "running")
        (active,) = database.rows(queries.ACTIVE)
        facts = Waiting(
            waits=database.waits(),
            pools={
                name: Slots(row["total"], row["taken"], holders.get(name, Slots()).holders)
                for name, row in pools.items()
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


def _holders(database: Database, column: str, *states: str) -> dict[str, Slots]:
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
