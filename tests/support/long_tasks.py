"""A DAG whose tasks go on until they are released, and Airflow's API to follow them by."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflowaks.session import open_session
from airflowaks.steps import api_server, key_vault, volumes
from tests.support.deployed import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflowaks.cloud.airflow_api import AirflowApi

LONG = '''
"""Two tasks that go on until a file is there."""

from pathlib import Path
from time import sleep

from airflow.sdk import dag, task


@dag(schedule=None)
def long():
    @task
    def wait():
        while not Path(__file__).with_name("released").exists():
            sleep(0.5)

    wait.override(task_id="one")()
    wait.override(task_id="two")()


long()
'''


@contextmanager
def api() -> Iterator[AirflowApi]:
    """Airflow's API, signed in."""
    session = open_session("local", "plan")
    with api_server.api(session) as found:
        password = session.memoize(key_vault.Resources).admin_password.require("value")
        found.sign_in(session.environment.airflow.admin, password)
        yield found


def tasks(found: AirflowApi, dag: str, run: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = found._send("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances")[
        "task_instances"
    ]
    return listed


def trigger(found: AirflowApi, dag: str) -> str:
    """Run a DAG as soon as it is known."""
    until(lambda: found._send("GET", f"/api/v2/dags?dag_id_pattern={dag}")["total_entries"])
    found.unpause(dag)
    return found.trigger(dag)


def push(folder: Path, **files: str) -> None:
    """Put files on the DAGs' share."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_py", ".py")).write_text(text)
    volumes.push_dags(open_session("local"), str(folder))
