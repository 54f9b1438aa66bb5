"""Drills of Airflow itself."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet
from uv import find_uv_bin

from airflowaks.engine.converge import converge
from airflowaks.engine.polling import retry_on, wait_until
from airflowaks.kube import exec as command
from airflowaks.kube.client import Reference
from airflowaks.kube.folders import PodFolder
from airflowaks.session import open_session
from airflowaks.steps import airflow as step7
from airflowaks.steps import key_vault, volumes
from airflowaks.steps.airflow_checks import SMOKE_DAG
from tests.support.deployed import NAMESPACE
from tests.support.drills.drill import NAME, Drills, deployment, is_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Scene

AIRFLOW = Drills()
"""In this order: what one leaves in the log of a pod that stays is not what the next is about."""
_JOB = Reference("batch/v1", "Job", "airflow-migration", NAMESPACE)
_JWT_SECRET = "AIRFLOW__API_AUTH__JWT_SECRET"
_EXECUTION_API = "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"
_HOST_NAME = "AIRFLOW__CORE__HOSTNAME_CALLABLE"
_QUEUED_LONG_AGO = "UPDATE task_instance SET queued_dttm = queued_dttm - interval '6 minutes' WHERE state = 'queued'"
_SCHEDULED_LONG_AGO = (
    "UPDATE task_instance SET scheduled_dttm = scheduled_dttm - interval '6 minutes' WHERE state = 'scheduled'"
)
_ASKED_FOR_LONG_AGO = "UPDATE dag_run SET queued_at = queued_at - interval '6 minutes' WHERE state = 'queued'"
_SECRET_KEY = "AIRFLOW__API__SECRET_KEY"
_DAG_SECONDS = 180.0
_LOST_SECONDS = 420.0
"""Within which a task fails that does not reach the api-server."""
_REMOVE_LOGS = f"import shutil; shutil.rmtree('/opt/airflow/logs/dag_id={SMOKE_DAG}')"
_OLD_PROBE = """
import sys, time, urllib.error, urllib.request
while True:
    try:
        urllib.request.urlopen("http://localhost:8080/health")
    except urllib.error.HTTPError as refused:
        sys.exit(refused.read().decode())
    except OSError:
        time.sleep(1)
"""
_CELERY, _NEWER = "/opt/airflow/logs/celery", "celery==5.7.0"
_CONTROL = "from airflow.providers.celery.executors.celery_executor import app; app.control."
"""What a worker is told through Celery, by a program in its own pod."""


def _fail_a_task(scene: Scene) -> None:
    """Have the DAG of the checks run, and return once that has failed."""
    with scene.api() as api:
        api.unpause(SMOKE_DAG)
        run = api.trigger(SMOKE_DAG)
        wait_until(lambda: api.state(SMOKE_DAG, run), lambda state: state == "failed", _LOST_SECONDS, longest_pause=1)


def _control(scene: Scene, call: str) -> None:
    (worker,) = scene.pods("worker")
    command.run(scene.kube, worker, ("python", "-c", _CONTROL + call), container="worker")


def _variable(scene: Scene, component: str, **variable: str) -> None:
    before = scene.pods(component)
    scene.edit(component, env=[variable])
    scene.await_rolled(component, before)


def _mark_a_task_failed(scene: Scene) -> None:
    with scene.api() as api:
        run = api.trigger(SMOKE_DAG)
        wait_until(lambda: api.state(SMOKE_DAG, run), lambda state: state == "success", _DAG_SECONDS, longest_pause=1)
        task = f"/api/v2/dags/{SMOKE_DAG}/dagRuns/{run}/taskInstances/report"
        api._send("PATCH", task, {"new_state": "failed"})
        wait_until(lambda: api.tasks("failed", 1)[1], lambda count: count > 0, _DAG_SECONDS, longest_pause=1)


@AIRFLOW.drill("AKA-906")
def a_task_is_marked_failed(scene: Scene) -> Iterator[None]:
    _mark_a_task_failed(scene)
    yield
    scene.forget_failures()


@AIRFLOW.drill("AKA-905")
def a_task_waits_for_a_queue_that_no_worker_consumes(scene: Scene) -> Iterator[None]:
    run = scene.run_dag("another_queue")
    with scene.api() as api:
        wait_until(lambda: api.tasks("queued", 1)[1], lambda count: count > 0, _DAG_SECONDS, longest_pause=1)
    scene.as_airflow(_QUEUED_LONG_AGO)
    yield
    _control(scene, 'add_consumer("another")')
    scene.await_run("another_queue", run, "success")
    _control(scene, 'cancel_consumer("another")')


@AIRFLOW.drill("AKA-907", by_hand=True)
def a_task_waits_for_a_pool_that_does_not_exist(scene: Scene) -> Iterator[None]:
    run = scene.run_dag("another_pool")
    with scene.api() as api:
        wait_until(lambda: api.tasks("scheduled", 1)[1], lambda count: count > 0, _DAG_SECONDS, longest_pause=1)
    scene.as_airflow(_SCHEDULED_LONG_AGO)
    yield
    with scene.kept("pools", name=NAME, slots=1):
        scene.await_run("another_pool", run, "success")


@AIRFLOW.drill("AKA-908")
def a_dag_that_has_a_run_is_paused(scene: Scene) -> Iterator[None]:
    with scene.api() as api:
        api._send("PATCH", f"/api/v2/dags/{SMOKE_DAG}", {"is_paused": True})
        run = api.trigger(SMOKE_DAG)
    scene.as_airflow(_ASKED_FOR_LONG_AGO)
    yield
    scene.await_run(SMOKE_DAG, run, "success")


@AIRFLOW.drill("AKA-703", changes=("AKA-822",))
def tasks_are_told_of_another_api_server(scene: Scene) -> Iterator[None]:
    _variable(scene, "worker", name=_EXECUTION_API, value="http://localhost:8080/execution/")
    _fail_a_task(scene)
    yield
    scene.forget_failures()


@AIRFLOW.drill("AKA-702", changes=("AKA-822",))
def the_api_server_has_no_jwt_secret(scene: Scene) -> Iterator[None]:
    """It makes one up, and does not start."""
    scene.edit("api-server", env=[{"name": _JWT_SECRET, "value": ""}])
    yield


@AIRFLOW.drill("AKA-701", changes=("AKA-822",))
def the_scheduler_has_another_jwt_secret(scene: Scene) -> Iterator[None]:
    _variable(scene, "scheduler", name=_JWT_SECRET, value="another-secret-another-secret-another")
    _fail_a_task(scene)
    yield
    scene.forget_failures()


@AIRFLOW.drill("AKA-721", changes=("AKA-807",))
def a_setting_is_no_number(scene: Scene) -> Iterator[None]:
    settings = Reference("v1", "ConfigMap", "airflow-configuration", NAMESPACE)
    scene.patch(
        settings, {"data": {"AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "often"}}, "application/merge-patch+json"
    )
    scene.replace("dag-processor")
    yield


@AIRFLOW.drill("AKA-704", fast=True, by_hand=True)
def the_tables_version_is_lost(scene: Scene) -> Iterator[None]:
    scene.as_airflow("ALTER TABLE alembic_version RENAME TO elsewhere")
    yield
    scene.as_airflow("ALTER TABLE elsewhere RENAME TO alembic_version")


@AIRFLOW.drill("AKA-704")
def the_database_is_emptied(scene: Scene) -> Iterator[None]:
    pod = scene.pods("scheduler")[0]
    reset = ("airflow", "db", "reset", "--skip-init", "--yes")
    command.run(scene.kube, pod, reset, container="scheduler")
    yield
    with scene.api() as api:  # what comes next runs DAGs
        for dag in (SMOKE_DAG, "variable"):
            retry_on(lambda dag=dag: api.definitions(dag), is_unknown, _DAG_SECONDS)


@AIRFLOW.drill("AKA-717", by_hand=True)
def the_schema_is_that_of_a_newer_airflow(scene: Scene) -> Iterator[None]:
    scene.as_airflow("CREATE TABLE drill AS SELECT version_num FROM alembic_version")
    scene.as_airflow("UPDATE alembic_version SET version_num = 'f00000000000'")
    scene.replace("triggerer")
    yield
    scene.as_airflow("UPDATE alembic_version SET version_num = drill.version_num FROM drill")
    scene.as_airflow("DROP TABLE drill")


@AIRFLOW.drill("AKA-718")
def the_schema_is_migrated_back(scene: Scene) -> Iterator[None]:
    """As in a database that was restored from before the migration."""
    pod = scene.pods("scheduler")[0]
    downgrade = ("airflow", "db", "downgrade", "--to-version", "3.2.0", "--yes")
    command.run(scene.kube, pod, downgrade, container="scheduler")
    yield


@AIRFLOW.drill("AKA-706")
def a_worker_consumes_nothing(scene: Scene) -> Iterator[None]:
    """As a worker that has lost its broker: it runs, it answers, and takes no tasks."""
    _control(scene, 'cancel_consumer("default")')
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
        wait_until(api.import_errors, lambda found: len(found) == count, _DAG_SECONDS)


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
    wait_until(lambda: scene.kube.get(_JOB), lambda there: there is None, 60)
    spec = {"backoffLimit": 0, "template": pod}
    scene.kube.apply({"apiVersion": _JOB.api_version, "kind": _JOB.kind, "metadata": metadata, "spec": spec})
    yield


def _container(scene: Scene, component: str) -> dict[str, Any]:
    """A component's container, as it is to be."""
    found: dict[str, Any] = (scene.kube.get(deployment(component)) or {})["spec"]["template"]["spec"]["containers"][0]
    return found


@AIRFLOW.drill("AKA-705", by_hand=True)
def a_component_goes_by_another_host_name(scene: Scene) -> Iterator[None]:
    probe = _container(scene, "triggerer")["startupProbe"]
    hurried = {"initialDelaySeconds": 5, "periodSeconds": 1, "failureThreshold": 2}
    scene.edit("triggerer", env=[{"name": _HOST_NAME, "value": "socket.gethostname"}], startupProbe=probe | hurried)
    yield
    scene.edit("triggerer", env=[{"name": _HOST_NAME, "$patch": "delete"}], startupProbe=probe)


@AIRFLOW.drill("AKA-709")
def the_probes_of_airflow_2_are_put_in(scene: Scene) -> Iterator[None]:
    """As older manifests have them."""
    probe = {"httpGet": {"path": "/health"}}
    scene.edit("api-server", startupProbe=probe, readinessProbe=probe, livenessProbe=probe)
    yield


@AIRFLOW.drill("AKA-709", by_hand=True)
def a_program_asks_as_in_airflow_2(scene: Scene) -> Iterator[None]:
    """As some charts have it, with what it was answered in its output."""
    probe = _container(scene, "api-server")["startupProbe"]
    program = {"exec": {"command": ["python", "-c", _OLD_PROBE]}, "httpGet": None}
    scene.edit("api-server", startupProbe={**probe, **program, "failureThreshold": 1})
    yield
    scene.edit("api-server", startupProbe={**probe, "exec": None})


@AIRFLOW.drill("AKA-715")
def the_fernet_key_is_replaced(scene: Scene) -> Iterator[None]:
    """Not rotated, which would have kept the old one behind the new one."""
    secret = scene.step(key_vault).fernet_key
    held = secret.require("value").reveal()
    with scene.kept("variables", key=NAME, value="encrypted"):
        _replace_key(scene, Fernet.generate_key().decode())
        scene.fail("variable")
        yield
        _replace_key(scene, held)
    scene.forget_failures()


def _replace_key(scene: Scene, key: str) -> None:
    step4 = scene.step(key_vault)
    step4.vault.secrets.set_secret(step4.fernet_key.name, key)
    step7.components(open_session("local"))


@AIRFLOW.drill("AKA-716")
def the_worker_has_a_celery_that_is_too_new(scene: Scene) -> Iterator[None]:
    """It is put where Python looks first, which does what an image with it would."""
    (worker,) = scene.pods("worker")
    with tempfile.TemporaryDirectory() as folder:
        install = (find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", folder, _NEWER)
        subprocess.run(install, check=True, cwd=folder)
        command.run(scene.kube, worker, ("mkdir", _CELERY), container="worker")
        converge(scene.session, PodFolder(scene.session, Path(folder), worker, "worker", _CELERY))
    scene.edit("worker", env=[{"name": "PYTHONPATH", "value": _CELERY}])
    yield
    scene.edit("worker", env=[{"name": "PYTHONPATH", "$patch": "delete"}])
    command.run(scene.kube, worker, ("python", "-c", f"import shutil; shutil.rmtree('{_CELERY}')"), container="worker")


@AIRFLOW.drill("AKA-707", changes=("AKA-822",))
def the_api_server_has_another_secret_key(scene: Scene) -> Iterator[None]:
    """It asks the worker for a log that is not on the share any more, and the worker does not know it."""
    _mark_a_task_failed(scene)
    (worker,) = scene.pods("worker")
    command.run(scene.kube, worker, ("python", "-c", _REMOVE_LOGS), container="worker")
    _variable(scene, "api-server", name=_SECRET_KEY, value="another-secret-key-another-secret-key")
    yield
    scene.forget_failures()
    # What it logged of a token that it refused would count against the api-server, whenever a task fails again.
    scene.replace("worker")
