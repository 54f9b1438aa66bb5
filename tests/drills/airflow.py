"""Drills of Airflow itself."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflowaks.kube import exec as command
from airflowaks.kube.client import Reference
from airflowaks.patience import until
from airflowaks.steps import airflow as step7
from airflowaks.steps import volumes
from tests.airflow.deployed import NAMESPACE
from tests.drills.drill import Drills

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.drills.drill import Scene

AIRFLOW = Drills()
"""In this order: what one leaves in the log of a pod that stays is not what the next is about."""
_JOB = Reference("batch/v1", "Job", "airflow-migration", NAMESPACE)
_JWT_SECRET = "AIRFLOW__API_AUTH__JWT_SECRET"
_EXECUTION_API = "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"
_DAG_SECONDS = 180.0
_FORGET_QUEUE = """
from airflow.providers.celery.executors.celery_executor import app
app.control.cancel_consumer("default")
"""


def _fail_a_task(scene: Scene) -> None:
    """Have the DAG of the checks run, and return once that has failed."""
    with scene.api() as api:
        api.unpause(step7.SMOKE_DAG)
        run = api.trigger(step7.SMOKE_DAG)
        until(lambda: api.state(step7.SMOKE_DAG, run), lambda state: state == "failed", _DAG_SECONDS, longest_pause=1)


def _variable(scene: Scene, component: str, **variable: str) -> None:
    before = scene.pods(component)
    scene.edit(component, env=[variable])
    scene.await_rolled(component, before)


@AIRFLOW.drill("AKA-906")
def a_task_is_marked_failed(scene: Scene) -> Iterator[None]:
    with scene.api() as api:
        run = api.trigger(step7.SMOKE_DAG)
        until(lambda: api.state(step7.SMOKE_DAG, run), lambda state: state == "success", _DAG_SECONDS, longest_pause=1)
        task = f"/api/v2/dags/{step7.SMOKE_DAG}/dagRuns/{run}/taskInstances/report"
        api._send("PATCH", task, {"new_state": "failed"})
        until(lambda: api.tasks("failed", 1)[1], lambda count: count > 0, _DAG_SECONDS, longest_pause=1)
    yield
    scene.forget_failures()


@AIRFLOW.drill("AKA-703", by_hand=True)
def tasks_are_told_of_another_api_server(scene: Scene) -> Iterator[None]:
    _variable(scene, "worker", name=_EXECUTION_API, value="http://localhost:8080/execution/")
    _fail_a_task(scene)
    yield
    _variable(scene, "worker", **{"name": _EXECUTION_API, "$patch": "delete"})
    scene.forget_failures()


@AIRFLOW.drill("AKA-702", by_hand=True)
def the_api_server_has_no_jwt_secret(scene: Scene) -> Iterator[None]:
    """It makes one up, and does not start."""
    scene.edit("api-server", env=[{"name": _JWT_SECRET, "value": ""}])
    yield
    scene.edit("api-server", env=[{"name": _JWT_SECRET, "$patch": "delete"}])


@AIRFLOW.drill("AKA-701", by_hand=True)
def the_scheduler_has_another_jwt_secret(scene: Scene) -> Iterator[None]:
    _variable(scene, "scheduler", name=_JWT_SECRET, value="another-secret-another-secret-another")
    _fail_a_task(scene)
    yield
    _variable(scene, "scheduler", **{"name": _JWT_SECRET, "$patch": "delete"})
    scene.forget_failures()


@AIRFLOW.drill("AKA-704", fast=True)
def the_tables_version_is_lost(scene: Scene) -> Iterator[None]:
    scene.as_airflow("ALTER TABLE alembic_version RENAME TO elsewhere")
    yield
    scene.as_airflow("ALTER TABLE elsewhere RENAME TO alembic_version")


@AIRFLOW.drill("AKA-706")
def a_worker_consumes_nothing(scene: Scene) -> Iterator[None]:
    """As a worker that has lost its broker: it runs, it answers, and takes no tasks."""
    (worker,) = scene.pods("worker")
    command.run(scene.kube, worker, ("python", "-c", _FORGET_QUEUE), container="worker")
    yield


@AIRFLOW.drill("AKA-708", by_hand=True)
def the_tables_of_users_are_lost(scene: Scene) -> Iterator[None]:
    scene.as_airflow("ALTER TABLE ab_user RENAME TO elsewhere")
    yield
    scene.as_airflow("ALTER TABLE elsewhere RENAME TO ab_user")


@AIRFLOW.drill("AKA-711")
def a_dag_file_is_broken(scene: Scene) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "drill.py"
        file.write_text("from airflow.sdk import dag, nothing_of_that_name\n")
        volumes.push_dags(scene.session, folder)
        _await_errors(scene, 1)
        yield
        file.write_text("# An airflow file without a dag: one that does not say so is not even looked at.\n")
        volumes.push_dags(scene.session, folder)
        _await_errors(scene, 0)


def _await_errors(scene: Scene, count: int) -> None:
    with scene.api() as api:
        until(api.import_errors, lambda found: len(found) == count, _DAG_SECONDS)


@AIRFLOW.drill("AKA-714")
def the_migration_fails(scene: Scene) -> Iterator[None]:
    """The job is made anew, as the runbook makes it, with a program that fails."""
    found: Any = scene.kube.get(_JOB)
    pod = found["spec"]["template"]
    pod["spec"]["containers"][0]["command"] = ["python", "-c", "raise SystemExit('the disk is on fire')"]
    for label in [one for one in pod["metadata"]["labels"] if "job" in one or "controller" in one]:
        del pod["metadata"]["labels"][label]
    metadata = {"name": _JOB.name, "namespace": NAMESPACE, "labels": found["metadata"]["labels"]}
    scene.kube.delete(_JOB)
    until(lambda: scene.kube.get(_JOB), lambda there: there is None, 60)
    spec = {"backoffLimit": 0, "template": pod}
    scene.kube.apply({"apiVersion": _JOB.api_version, "kind": _JOB.kind, "metadata": metadata, "spec": spec})
    yield
