"""Explains why a DAG, a run or a task does not run: reads it, and then what holds it, until something holds nothing."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflowaks.cloud.error_mapping import translate
from airflowaks.diagnosis.facts.waiting import Schedule, Wait
from airflowaks.diagnosis.readers import airflow, backend, waiting, waiting_queries
from airflowaks.diagnosis.waiting.answer import Chain, Link, grouped, reasons
from airflowaks.engine.table import Table
from airflowaks.engine.times import seconds_since
from airflowaks.errors import InvalidParameter
from airflowaks.steps import api_server

if TYPE_CHECKING:
    from airflowaks.cloud.airflow_api import AirflowApi
    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.diagnosis.readers.backend import OpenDatabase
    from airflowaks.session import Session

    Target = tuple[str, str, str]

_MOST_LINKS, _MOST_WAITS, _DEEPEST = 12, 5, 4
_PARTS = 3
_FORM = "Write it as DAG, DAG/RUN or DAG/RUN/TASK, such as smoke/manual__2026-11-29T09:32:00+00:00/report."


def target(text: str) -> Target:
    """Return the DAG, run and task that `task` names. Raises InvalidParameter where it is no DAG[/RUN[/TASK]]."""
    parts = text.split("/")
    if len(parts) > _PARTS or not all(part and part == part.strip() for part in parts):
        raise InvalidParameter(f'task must be DAG, DAG/RUN or DAG/RUN/TASK; got "{text}".', _FORM)
    dag, run, task = (*parts, "", "")[:_PARTS]
    return dag, run, task


def explain(session: Session, facts: Snapshot, task: str = "") -> Table:
    """Explain why the DAG, run or task that `task` names does not run; if it is empty, all that waits for too long.

    `facts` are those of a diagnosis: what tasks share. Writes nothing in any mode. An error of a source is shown.

    Raises:
        InvalidParameter: `task` is no DAG[/RUN[/TASK]], or the DAG has no such run or task.

    """
    if not task:
        return grouped(facts).table()
    where = target(task)
    try:
        return Chain(task, _links(session, facts, where)).table()
    except InvalidParameter:
        raise
    except Exception as error:  # noqa: BLE001 - the notebook goes on with the next cell
        return Table((), (), note=str(translate(error, "explain", session.redactor)))


def _links(session: Session, facts: Snapshot, where: Target) -> tuple[Link, ...]:
    links: list[Link] = []
    database = backend.opened_database(session)
    with api_server.api(session) as client:
        airflow.sign_in(session, client)
        reader = _Reader(database, client)
        if unknown := reader.unknown(where[0]):
            return (Link(unknown, reasons(unknown, facts)),)
        absent = reader.absent(*where)
        if absent:
            return (Link(absent, reasons(absent, facts)),)
        left: list[tuple[Target, int]] = [(where, 0)]
        shown: set[tuple[str, str]] = set()
        while left and len(links) < _MOST_LINKS:
            next_target, depth = left.pop(0)
            for wait in reader.waits(next_target):
                if (wait.name, wait.state) in shown or depth > _DEEPEST:
                    continue
                shown.add((wait.name, wait.state))
                held = reasons(wait, facts)
                links.append(Link(wait, held, depth))
                left += [(reason.held_by, depth + 1) for reason in held if reason.held_by][:1]
    return tuple(links)


class _Reader:
    """Reads targets: counts and ages from the database, definitions and Airflow's own reasons from the REST API."""

    def __init__(self, database: OpenDatabase, client: AirflowApi) -> None:
        self._database, self._client = database, client

    def absent(self, dag: str, run: str, task: str) -> Wait | None:
        """Return a task that its DAG defines and the run has no instance of; None if there is nothing to say.

        Raises InvalidParameter where the DAG has no such run or task.
        """
        if run and not self._database.rows(waiting_queries.HAS_RUN, dag=dag, run=run):
            runs = [row["run"] for row in self._database.rows(waiting_queries.LAST_RUNS, dag=dag)]
            raise InvalidParameter(f'task: DAG {dag} has no run "{run}".', _near(run, runs, "Its newest runs are"))
        if not task or self._database.rows(waiting_queries.HAS_TASK, dag=dag, run=run, task=task):
            return None
        definitions = {definition["task_id"]: definition for definition in self._client.definitions(dag)}
        if task not in definitions:
            message = f'task: DAG {dag} has no task "{task}".'
            raise InvalidParameter(message, _near(task, list(definitions)[:_MOST_LINKS], "Its tasks are"))
        dates = definitions[task]["start_date"] or "", definitions[task]["end_date"] or ""
        return Wait(dag, run, task, state="absent", schedule=Schedule(start=dates[0], end=dates[1]))

    def waits(self, where: Target) -> list[Wait]:
        """Return what waits of a target, the target itself first, and in Airflow's words why it is not scheduled."""
        dag, run, task = where
        waits = waiting.waits(self._database, dag, run, task)
        own = [self._scheduled(wait) for wait in waits if not wait.task]
        tasks = [wait for wait in waits if wait.task]
        if not task:
            # What waits for another task, or for its run, is told by that one.
            tasks = [wait for wait in tasks if wait.run_state == "running"]
            tasks = [wait for wait in tasks if wait.state] or tasks
        return own + [self._defined(wait) for wait in tasks[:_MOST_WAITS]]

    def unknown(self, dag: str) -> Wait | None:
        """Return what waits for a DAG that Airflow does not know, with the names most like it; None for others."""
        names = [row["dag"] for row in self._database.rows(waiting_queries.DAG_NAMES, dag=dag)]
        near = tuple(get_close_matches(dag, names, n=3))
        return None if dag in names else Wait(dag, known=False, near=near, run_state="unknown")

    def _scheduled(self, wait: Wait) -> Wait:
        """Return a DAG's or a run's wait with when its file was parsed, a DAG's with its schedule."""
        details = self._client.dag(wait.dag)
        parsed = details["last_parsed_time"]
        wait = replace(wait, parsed=seconds_since(parsed) if parsed else None)
        if wait.run:
            return wait
        due = details["next_dagrun_run_after"]
        schedule = Schedule(
            summary=details["timetable_summary"] or "",
            due_in=-seconds_since(due) if due else None,
            start=details["start_date"] or "",
            end=details["end_date"] or "",
            catchup=details["catchup"],
            missing=tuple(self._missing(wait.dag, details["asset_expression"])),
            run_types=tuple(details["allowed_run_types"] or ()),
        )
        return replace(wait, schedule=schedule)

    def _missing(self, dag: str, expression: Any) -> list[str]:
        from azure.core.exceptions import HttpResponseError

        if not expression:
            return []
        try:
            updated = self._client.updated_assets(dag)
        except HttpResponseError as error:
            if error.status_code != HTTPStatus.NOT_FOUND:
                raise
            updated = []  # Airflow's answer if no asset was updated
        return [uri for uri in _uris(expression) if uri not in updated]

    def _defined(self, wait: Wait) -> Wait:
        """Return a task's wait with the states of its upstream tasks, and Airflow's reasons if it is not scheduled."""
        if wait.state not in ("", "upstream_failed", "skipped"):
            return wait
        definitions = self._client.definitions(wait.dag)
        tasks = [one["task_id"] for one in definitions if wait.task in one["downstream_task_ids"]]
        rows = self._database.rows(waiting_queries.UPSTREAM, dag=wait.dag, run=wait.run, tasks=tasks)
        wait = replace(wait, upstream={row["task"]: row["state"] for row in rows})
        if wait.state:
            return wait
        dependencies = self._client.dependencies(wait.dag, wait.run, wait.task, wait.map_index)
        if not wait.depends_on_past:
            return replace(wait, dependencies=dependencies)
        catchup = self._client.dag(wait.dag)["catchup"]
        previous = self._database.rows(waiting_queries.PREVIOUS, dag=wait.dag, run=wait.run, catchup=catchup)
        return replace(wait, dependencies=dependencies, previous_run=previous[0]["run"] if previous else "")


def _uris(expression: Any) -> list[str]:
    """Return the URIs of all assets in an expression such as `{"all": [{"asset": {"uri": …}}]}`."""
    if isinstance(expression, list):
        return [uri for part in expression for uri in _uris(part)]
    if isinstance(expression, dict):
        asset = expression.get("asset")
        return [asset["uri"]] if asset else _uris(list(expression.values()))
    return []


def _near(name: str, names: list[str], title: str) -> str:
    near = get_close_matches(name, names, n=1)
    if near:
        return f'Did you mean "{near[0]}"?'
    return f"{title}: {', '.join(names)}." if names else "It has none."
