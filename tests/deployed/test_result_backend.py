"""Celery's results in a database of their own: whom workers can log in as, and how a deployment of before gets there.

The roll-out takes minutes: `pytest -m story tests/deployed` does it.
"""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from airflowaks.azure.database_role import connect
from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.engine.changes import Action
from airflowaks.session import open_session
from airflowaks.steps import airflow as step7
from airflowaks.steps import backend, key_vault
from tests.support.deployed import until
from tests.support.drills.drill import Scene
from tests.support.long_tasks import LONG, api, push, tasks, trigger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.deployed import Deployed

RESULTS = "SELECT task_id, status FROM celery_taskmeta"
BACKEND = "AIRFLOW__CELERY__RESULT_BACKEND"


def url_of(secret: str) -> DatabaseUrl:
    """What the vault holds now."""
    secrets = {one.name: one for one in open_session("local", "plan").memoize(key_vault.Resources).secrets}
    return DatabaseUrl.parse(secrets[secret].require("value").reveal())


def rows(secret: str, query: str) -> set[tuple[Any, ...]]:
    """What a query finds, as the role of a secret's URL."""
    url, server = url_of(secret), open_session("local", "plan").memoize(backend.Resources).server
    with connect(server, url.database, url.user, url.password) as opened:
        return set(opened.execute(query).fetchall())  # type: ignore[call-overload]  # psycopg wants literals alone


def processes(airflow: Deployed, command: str) -> Iterator[psutil.Process]:
    """The processes of this deployment's containers that run a command of Airflow's."""
    for process in psutil.process_iter(["cmdline", "environ"]):
        line, environment = " ".join(process.info["cmdline"] or ()), process.info["environ"] or {}
        if command in line and str(airflow.cloud.home) in " ".join(environment.values()):
            yield process


@pytest.mark.broad
def test_a_worker_can_log_in_to_celerys_database_alone(airflow: Deployed) -> None:
    password = url_of(key_vault.SQL_CONNECTION).password
    workers = list(processes(airflow, "celery worker"))
    assert workers
    for worker in workers:
        environment = worker.environ()
        held = {name for name in environment if name.startswith("AIRFLOW__") and "://" in environment[name]}
        assert held - {"AIRFLOW__API__BASE_URL", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"} == {
            BACKEND,
            "AIRFLOW__CELERY__BROKER_URL",
        }
        assert not [name for name, value in environment.items() if password in value]
        assert DatabaseUrl.parse(environment[BACKEND]).user == "airflow_celery"
    assert "SUCCESS" in {status for _, status in rows(key_vault.RESULT_BACKEND, RESULTS)}
    assert rows(key_vault.SQL_CONNECTION, "SELECT to_regclass('celery_taskmeta')") == {(None,)}


def make_as_before(airflow: Deployed) -> None:
    """Have Celery's results in Airflow's database, as its owner, and nothing else, as deployments before had them."""
    scene, worker = Scene(airflow.cloud), set(airflow.pods("worker"))
    url = url_of(key_vault.SQL_CONNECTION).spell("db+postgresql+psycopg2")
    scene.step(key_vault).vault.secrets.set_secret(key_vault.RESULT_BACKEND, url)
    session = open_session("local")
    session.memoize(key_vault.Resources)
    step7.everything(session)
    until(lambda: not worker & set(airflow.pods("worker")))
    scene.administer("DROP DATABASE airflow_celery WITH (FORCE)")
    scene.administer("DROP ROLE airflow_celery")


def slots_in_use(airflow: Deployed) -> int:
    """How many tasks the executor counts as running, as the scheduler says when asked by a signal."""
    before = airflow.log("scheduler").count("executor.running (")
    for scheduler in processes(airflow, "airflow scheduler"):
        scheduler.send_signal(signal.SIGUSR2)
    log = until(lambda: (text := airflow.log("scheduler")).count("executor.running (") > before and text)
    return int(log.rpartition("executor.running (")[2].partition(")")[0])


@pytest.mark.story
def test_a_deployment_of_before_is_migrated_under_running_tasks(airflow: Deployed, tmp_path: Path) -> None:
    make_as_before(airflow)
    share = tmp_path / "share"
    push(share, long_py=LONG)
    with api() as found:
        run = trigger(found, "long")
        until(lambda: [one["state"] for one in tasks(found, "long", run)] == ["running", "running"])
    (old_worker,), (old_scheduler,) = airflow.pods("worker"), airflow.pods("scheduler")

    def release() -> None:
        """Let the tasks end on the worker of before, once the scheduler asks the new database alone."""
        until(lambda: old_scheduler not in airflow.pods("scheduler"))
        until(lambda: "deletionTimestamp" in airflow.pods("worker")[old_worker]["metadata"])
        push(share, released="")

    with ThreadPoolExecutor() as pool:
        released = pool.submit(release)
        session = open_session("local")
        changes = [change for step in (backend, key_vault, step7) for change in step.everything(session)]
        released.result()
    changed = {change.name for change in changes if change.action is not Action.NONE}
    assert changed == {
        "airflow_celery",
        key_vault.RESULT_BACKEND,
        "airflow-worker",
        "airflow-scheduler",
    }
    with api() as found:
        assert [(one["state"], one["try_number"]) for one in tasks(found, "long", run)] == [("success", 1)] * 2
    assert slots_in_use(airflow) == 0
    ids = rows(key_vault.SQL_CONNECTION, "SELECT external_executor_id FROM task_instance WHERE dag_id = 'long'")
    assert {(task, "SUCCESS") for (task,) in ids} <= rows(key_vault.RESULT_BACKEND, RESULTS)
    assert {change.action for change in step7.components(open_session("local"))} == {Action.NONE}
    test_a_worker_can_log_in_to_celerys_database_alone(airflow)
