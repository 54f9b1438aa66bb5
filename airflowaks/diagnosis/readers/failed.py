"""Reads which tasks failed, from the metadata database, and the ends of their logs, through the REST API."""

from __future__ import annotations

import pickletools
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from airflowaks.diagnosis.facts.services import EXECUTOR_SAYS, FailedTask
from airflowaks.diagnosis.readers.airflow import answering, sign_in
from airflowaks.diagnosis.readers.backend import opened_database
from airflowaks.diagnosis.readers.kubernetes import reachable
from airflowaks.diagnosis.readers.shared import shared
from airflowaks.engine.times import timestamp
from airflowaks.errors import AirflowAksError
from airflowaks.steps import api_server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflowaks.cloud.airflow_api import AirflowApi
    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.session import Session

_MOST_TASKS, _MOST_LOGS, _LINES, _MOST_CLEARED, _THREADS = 100, 24, 40, 1000, 4

LOST = ("state mismatch", "heartbeat timeout", "stuck in queued tries exceeded")
"""The events of tasks that the scheduler fails itself: `airflow/jobs/scheduler_job_runner.py` of 3.3 writes them."""

_FAILED = """
WITH failures AS (
    SELECT dag_id, task_id, count(*)::int AS count, min(end_date) AS since, max(end_date) AS at,
           (array_agg(id ORDER BY end_date DESC))[1] AS id
    FROM task_instance WHERE state IN ('failed', 'up_for_retry') AND end_date >= %(since)s
    GROUP BY 1, 2 ORDER BY max(end_date) DESC LIMIT %(most)s
)
SELECT f.*, ti.run_id, ti.map_index, greatest(ti.try_number, 1) AS try_number, ti.external_executor_id AS executor_id,
       noted.event, tries.*
FROM failures f JOIN task_instance ti ON ti.id = f.id
LEFT JOIN LATERAL (
    SELECT event || ': ' || coalesce(extra, '') AS event FROM log
    WHERE (log.dag_id, log.task_id, log.run_id, log.map_index) = (ti.dag_id, ti.task_id, ti.run_id, ti.map_index)
    AND log.try_number = ti.try_number AND log.event = ANY(%(lost)s) ORDER BY log.id LIMIT 1
) AS noted ON TRUE, LATERAL (
    SELECT count(*) FILTER (WHERE state = 'failed')::int AS failed, count(*)::int AS ended,
           max(start_date) FILTER (WHERE state = 'success') AS succeeded
    FROM ((SELECT state, start_date FROM task_instance t WHERE (t.dag_id, t.task_id) = (f.dag_id, f.task_id)
           AND t.state IN ('success', 'failed') ORDER BY t.id DESC LIMIT 50)
          UNION ALL
          (SELECT state, start_date FROM task_instance_history h WHERE (h.dag_id, h.task_id) = (f.dag_id, f.task_id)
           AND h.state IN ('success', 'failed') ORDER BY h.start_date DESC LIMIT 50)) AS recent
) AS tries
ORDER BY f.at DESC
"""
"""Each task that failed, with its last failure; earlier tries are in `task_instance_history`, as failed."""

_TIMED_OUT = """
SELECT dr.dag_id, count(*)::int AS count, min(dr.end_date) AS since, max(dr.end_date) AS at,
       'dagrun_timeout: the run took longer than ' || max(newest.seconds) || ' seconds' AS event
FROM dag_run dr, LATERAL (
    SELECT (data::jsonb->'dag'->>'dagrun_timeout')::float AS seconds FROM serialized_dag s
    WHERE s.dag_id = dr.dag_id ORDER BY s.created_at DESC LIMIT 1) AS newest
WHERE dr.state = 'failed' AND dr.end_date >= %(since)s
AND dr.end_date - dr.start_date >= make_interval(secs => newest.seconds)
AND NOT EXISTS (SELECT FROM task_instance ti WHERE (ti.dag_id, ti.run_id) = (dr.dag_id, dr.run_id)
                AND ti.state IN ('failed', 'upstream_failed'))
GROUP BY 1 ORDER BY max(dr.end_date) DESC LIMIT %(most)s
"""
"""Runs that exceeded dagrun_timeout: the scheduler fails these and marks what is unfinished as skipped."""

_SUCCEEDED = """
SELECT max(start_date) AS succeeded
FROM (SELECT start_date FROM task_instance WHERE state = 'success' ORDER BY id DESC LIMIT 1000) AS recent
"""

_KEPT = """
SELECT key AS name FROM variable WHERE key = ANY(%(names)s) UNION SELECT conn_id FROM connection
WHERE conn_id = ANY(%(names)s)
"""
_MISSING = re.compile(r"Variable (\S+) not found|conn_id `([^`]+)` isn't defined")

_RESULTS = "SELECT task_id, result FROM celery_taskmeta WHERE task_id = ANY(%(names)s) AND status = 'FAILURE'"

_BY_THE_SCHEDULER = """
SELECT ti.dag_id AS dag, ti.run_id AS run, ti.task_id AS task, ti.map_index
FROM task_instance ti
WHERE ti.state = 'failed' AND ti.end_date >= now() - make_interval(secs => %(seconds)s) AND EXISTS (
    SELECT FROM log
    WHERE (log.dag_id, log.task_id, log.run_id, log.map_index) = (ti.dag_id, ti.task_id, ti.run_id, ti.map_index)
    AND log.try_number = ti.try_number AND log.event = ANY(%(events)s)
    AND coalesce(log.extra, '') NOT LIKE '%%state attribute is running%%')
ORDER BY ti.end_date LIMIT %(most)s
"""


class Instance(NamedTuple):
    """A task instance."""

    dag: str
    run: str
    task: str
    map_index: int

    @property
    def name(self) -> str:
        """Return the task's name in its run."""
        return f"{self.task}[{self.map_index}]" if self.map_index >= 0 else self.task


def failed_by_the_scheduler(session: Session, events: Sequence[str], seconds: float) -> list[Instance]:
    """Return the tasks that the scheduler has failed with one of these events; it killed none of their processes."""
    rows = opened_database(session).rows(_BY_THE_SCHEDULER, events=list(events), seconds=seconds, most=_MOST_CLEARED)
    return [Instance(**row) for row in rows]


def failed(session: Session, scope: Scope) -> dict[str, Any]:
    """Read which tasks and runs failed, and the logs of those that failed last, where the API tells."""
    reachable(session)
    database = shared(session, opened_database)
    values = {"since": scope.since, "most": _MOST_TASKS, "lost": list(LOST)}
    rows = database.rows(_FAILED, **values)
    runs = database.rows(_TIMED_OUT, **values)
    (last,) = database.rows(_SUCCEEDED)
    _read_logs(session, scope, rows[:_MOST_LOGS])
    missing = {row["id"]: list(filter(None, chain(*_MISSING.findall(row.get("log", ""))))) for row in rows}
    names = list(chain(*missing.values()))
    kept = {row["name"] for row in database.rows(_KEPT, names=names)} if names else set()
    for row in rows:
        row["encrypted"] = not kept.isdisjoint(missing[row["id"]])
    _ask_the_executor(session, [row for row in rows if row["event"] and row["executor_id"]][:_MOST_LOGS])
    tasks = (*map(_task, rows), *(_task(row | {"task_id": ""}) for row in runs))
    return {"failed": tasks, "succeeded": timestamp(last["succeeded"]) if last["succeeded"] else ""}


def _read_logs(session: Session, scope: Scope, rows: list[dict[str, Any]]) -> None:
    """Add the logs, which the REST API has; why it does not answer is told of the part `airflow.api`."""
    from azure.core.exceptions import AzureError

    with suppress(AzureError, AirflowAksError):
        if rows and (server := answering(session, scope)):
            with api_server.api(session, server) as client, ThreadPoolExecutor(_THREADS) as pool:
                sign_in(session, client)
                for row, log in zip(rows, pool.map(lambda row: _log(client, row), rows), strict=True):
                    row["log"] = log


def _ask_the_executor(session: Session, rows: list[dict[str, Any]]) -> None:
    """Add to the scheduler's notes the exceptions of workers, which Celery keeps: the scheduler does not note them.

    Why Celery's database does not answer is told of the part `backend.celery`.
    """
    import psycopg

    results: dict[str, bytes] = {}
    with suppress(psycopg.Error, AirflowAksError):
        if rows:
            names = [row["executor_id"] for row in rows]
            read = shared(session, opened_database, "result_backend").rows(_RESULTS, names=names)
            results = {row["task_id"]: row["result"] for row in read}
    for row in rows:
        if exception := _exception(results.get(row["executor_id"])):
            row["event"] += f"{EXECUTOR_SAYS}{exception}"


def _exception(pickled: bytes | None) -> str:
    """Return the exception in a result of Celery's, whose strings are read without unpickling it: it may hold code."""
    strings = [text for _, text, _ in pickletools.genops(pickled) if isinstance(text, str)] if pickled else []
    values = dict(pairwise(strings))
    return f"{values['exc_type']}: {values.get('exc_message', '')}" if "exc_type" in values else ""


def _task(row: dict[str, Any]) -> FailedTask:
    return FailedTask(
        dag=row["dag_id"],
        task=row["task_id"],
        at=timestamp(row["at"]),
        log=row.get("log", ""),
        count=row["count"],
        since=timestamp(row["since"]),
        event=row.get("event") or "",
        failed=row.get("failed", 0),
        ended=row.get("ended", 0),
        succeeded=timestamp(row["succeeded"]) if row.get("succeeded") else "",
        encrypted=row.get("encrypted", False),
    )


def _log(client: AirflowApi, task: dict[str, Any]) -> str:
    from azure.core.exceptions import AzureError

    with suppress(AzureError):
        lines = client.log(
            task["dag_id"], task["run_id"], task["task_id"], attempt=task["try_number"], map_index=task["map_index"]
        )
        return "\n".join(lines[-_LINES:])
    return ""
