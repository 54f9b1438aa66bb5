"""Everything that can hold a DAG, a run or a task, at the same time on a deployed Airflow."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflowaks.azure.redis import opened
from airflowaks.diagnosis.diagnose import diagnose
from airflowaks.diagnosis.readers.scope import Scope, period
from airflowaks.diagnosis.readers.waiting import waiting
from airflowaks.diagnosis.waiting.answer import WAITING_MIME
from airflowaks.diagnosis.waiting.explain import explain
from airflowaks.engine.polling import wait_until
from airflowaks.kube.client import Reference
from airflowaks.session import Session, open_session
from airflowaks.steps import key_vault, volumes
from tests.support.deployed import NAMESPACE
from tests.support.drills.drill import deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflowaks.cloud.airflow_api import AirflowApi
    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.diagnosis.facts.waiting import Waiting
    from tests.support.drills.drill import Scene

FOLDER = Path(__file__).parent
SECONDS = 240.0
PARALLELISM = 32
SCALED = Reference("keda.sh/v1alpha1", "ScaledObject", "airflow-worker", NAMESPACE)
DATES = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
# How many tasks of each are to be in which state before the next is looked at.
SETTLED = {
    "halted": {},
    "one_run": {"queued": 1},
    "past": {"queued": 1},
    "past_downstream": {"success": 1, "queued": 1},
    "upstream": {"failed": 1, "upstream_failed": 1, "skipped": 2, "queued": 1},
    "after_its_end": {"queued": 1},
    "no_pool": {"scheduled": 1},
    "takes_pool": {"queued": 1},
    "wants_pool": {"scheduled": 1},
    "wants_more": {"scheduled": 1},
    "one_task": {"queued": 1, "scheduled": 1},
    "one_instance": {"queued": 1, "scheduled": 1},
    "one_of_a_run": {"queued": 1, "scheduled": 2},
    "repeats": {"up_for_retry": 1},
    "looks_again": {"up_for_reschedule": 1},
    "defers": {"deferred": 1},
    "asks": {"awaiting_input": 1},
    "trimmed": {"queued": 1},
    "gone": {"queued": 1},
    "broken": {"queued": 1},
    "pokes": {"running": 2},
    "wants_slot": {"queued": 1},
}
TWICE = ("one_run", "past", "past_downstream", "one_instance")
DATED = ("after_its_end",)
NOT_RUN = ("later", "over", "by_asset", "by_hand")
FOR_LONG = "UPDATE {0} SET {1} = least({1}, now() - interval '6 minutes') WHERE state = 'queued'"
LAST = ("many", "wants_executor")


class Held:
    """What is held, and how it is explained."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.runs: dict[str, list[str]] = {}

    def settle(self) -> None:
        """Begin all runs, and return once each waits for what is to hold it."""
        self._most_workers(1)
        volumes.push_dags(self.scene.session, str(FOLDER / "dags"))
        with self.scene.api() as api:
            api._send("POST", "/api/v2/pools", {"name": "small", "slots": 1})
            known = "/api/v2/dags?limit=1&dag_id_pattern="
            for dag in (*SETTLED, *NOT_RUN, *LAST):
                await_true(lambda dag=dag: api._send("GET", known + dag)["total_entries"])
                if dag != "halted":
                    api.unpause(dag)
            for dag, states in SETTLED.items():
                self._run(api, dag, states)
            volumes.push_dags(self.scene.session, str(FOLDER / "changed"))
            await_true(lambda: api.dag("gone")["is_stale"] and api.dag("broken")["has_import_errors"])
            await_true(lambda: _count(api, "trimmed", "removed"))

    def _run(self, api: AirflowApi, dag: str, states: dict[str, int]) -> None:
        for date in DATES[: 2 * (dag in TWICE) + (dag in DATED)] or (None,):
            run = api._send("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": date})
            self.runs.setdefault(dag, []).append(run["dag_run_id"])
        for state, count in states.items():
            await_true(lambda state=state, count=count: _count(api, dag, state) == count, f"{dag} {state}")

    def fill_the_executor(self) -> None:
        """Have as many tasks queued as the executor takes."""
        with self.scene.api() as api:
            self._run(api, "many", {})
            await_true(lambda: _count(api, "~", "queued") + _count(api, "~", "running") >= PARALLELISM)
            self._run(api, "wants_executor", {"scheduled": 1})

    def lose(self) -> None:
        """Empty the broker's queue, free the workers' slots, and have what is queued wait for long."""
        step4 = self.scene.step(key_vault)
        with opened(
            step4.broker_url.require("value").reveal(), self.scene.session.connection.ca_file, step4.route
        ) as broker:
            broker.delete("default")
        with self.scene.api() as api:
            self.end("pokes", api)
            await_true(lambda: not _count(api, "pokes", "running"))
        self.scene.as_airflow(FOR_LONG.format("task_instance", "queued_dttm"))
        self.scene.as_airflow(FOR_LONG.format("dag_run", "queued_at"))

    def end(self, dag: str, api: AirflowApi) -> None:
        """Mark the runs of a DAG as failed, which ends their tasks."""
        for run in self.runs.pop(dag, ()):
            api._send("PATCH", f"/api/v2/dags/{dag}/dagRuns/{run}", {"state": "failed"})

    @contextmanager
    def without(self, *components: str) -> Iterator[None]:
        """Have no pod of some components for so long that their heartbeats are missed."""
        for component in components:
            self.scene.patch(deployment(component), {"spec": {"replicas": 0}})
        await_true(lambda: min(_silences()) > 30)
        yield
        for component in components:
            self.scene.patch(deployment(component), {"spec": {"replicas": 1}})
        await_true(lambda: max(_silences()) < 30)

    def facts(self) -> Snapshot:
        with closing(open_session("local", "plan")) as session:
            return diagnose(session).facts

    def forget(self) -> None:
        """Delete all runs, and have as many workers as before, and a scheduler whose executor forgets the tasks."""
        with self.scene.api() as api:
            for dag in list(self.runs):
                self.end(dag, api)
            for dag in (*SETTLED, *NOT_RUN, *LAST):
                api._send("DELETE", f"/api/v2/dags/{dag}")
            api._send("DELETE", "/api/v2/pools/small")
            volumes.push_dags(self.scene.session, str(FOLDER / "dags"))
            await_true(lambda: not api.import_errors())
        self._most_workers(5)
        before = self.scene.pods("scheduler")
        self.scene.replace("scheduler")
        self.scene.await_rolled("scheduler", before)

    def explain(self, session: Session, facts: Snapshot, target: str) -> list[list[str]]:
        """The sentences of each link of the chain; a target names a run by its number, such as `one_run/1/waits`."""
        dag, *rest = target.split("/")
        if rest:
            rest[0] = self.runs[dag][int(rest[0])]
        table = explain(session, facts, "/".join((dag, *rest)))
        print(table)
        links = json.loads(json.dumps(table.data[WAITING_MIME]))
        return [[reason["holds"] for reason in link["reasons"]] for link in links]

    def _most_workers(self, count: int) -> None:
        self.scene.patch(SCALED, {"spec": {"maxReplicaCount": count}}, "application/merge-patch+json")


def _count(api: AirflowApi, dag: str, state: str) -> int:
    query = f"/api/v2/dags/{dag}/dagRuns/~/taskInstances?limit=1&state={state}"
    return int(api._send("GET", query)["total_entries"])


def _silences() -> list[float]:
    with closing(open_session("local", "plan")) as session:
        read: Waiting = waiting(session, Scope(period("1h"), NAMESPACE))["waiting"]
    return [read.heartbeats[job] for job in ("SchedulerJob", "TriggererJob")]


def await_true(look: Callable[[], Any], what: str = "") -> None:
    """Return once it is so."""
    assert wait_until(look, bool, SECONDS, longest_pause=2), what
