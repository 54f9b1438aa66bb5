"""DAGs of an airflow file whose tasks fail, each for another reason."""

import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.configuration import conf
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import BaseHook, BaseOperator, Variable, dag, task
from airflow.triggers.base import BaseTrigger, TriggerEvent

NAME = "failing"


def failing(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a function a DAG of its name with one task."""

    def make(work: Callable[..., Any]) -> Any:
        @dag(dag_id=work.__name__, schedule=None)
        def made() -> None:
            task(task_id="work", **options)(work)()

        return made()

    return make


@failing()
def own_code() -> object:
    return {}["amount"]


@failing(retries=1, retry_delay=timedelta(seconds=1))
def now_and_then(ti: Any) -> None:
    if ti.try_number == 1:
        raise ValueError("only the first time")


@failing()
def out_of_memory() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@failing()
def worker_is_killed() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(5)


@failing()
def silent(ti: Any) -> None:
    if ti.try_number == 1:
        os.kill(os.getppid(), signal.SIGSTOP)
        time.sleep(60)
        os.kill(os.getppid(), signal.SIGCONT)
        time.sleep(60)


@failing()
def late_import() -> None:
    import no_such_package  # noqa: F401


@failing(execution_timeout=timedelta(seconds=1))
def too_long() -> None:
    time.sleep(60)


@failing()
def client_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()[:2], timeout=1).recv(1)


@failing()
def value_too_long() -> None:
    import psycopg2

    known = BaseHook.get_connection(NAME)
    opened = psycopg2.connect(
        host=known.host,
        port=known.port,
        dbname=known.schema,
        user=known.login,
        password=known.password,
        sslmode="require",
    )
    with opened, opened.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE short (name varchar(2))")
        cursor.execute("INSERT INTO short VALUES ('abc')")


@failing()
def no_json() -> object:
    return object()


@failing()
def disk_was_full() -> None:
    Path("/dev/full").write_text("one more line")


@failing()
def no_connection() -> None:
    BaseHook.get_connection("none_such")


@failing()
def no_variable() -> None:
    Variable.get("none_such")


@failing()
def undecryptable() -> None:
    Variable.get(NAME)


@failing()
def no_such_host() -> None:
    socket.create_connection(("no-such-host.invalid", 80))


@failing()
def refused_connection() -> None:
    socket.create_connection(("127.0.0.1", 9))


@failing()
def refused_token() -> None:
    import requests

    url = conf.get("core", "execution_api_server_url").replace("/execution/", "/api/v2/dags")
    requests.get(url, timeout=10).raise_for_status()


@failing()
def ended_by_hand() -> None:
    time.sleep(120)


@failing(queue="nobody")
def lost() -> None:
    """Stay in the queue."""


@dag(schedule=None, dagrun_timeout=timedelta(seconds=5))
def run_too_long() -> None:
    task(task_id="work", queue="nobody")(lambda: None)()


@dag(schedule=None)
def of_the_provider() -> None:
    BashOperator(task_id="work", bash_command="exit 3")


@dag(schedule=None)
def program_is_killed() -> None:
    BashOperator(task_id="work", bash_command="kill -9 $$")


@dag(schedule=None)
def never_comes() -> None:
    PythonSensor(task_id="work", python_callable=lambda: False, timeout=1, poke_interval=1)


class Lost(BaseTrigger):
    """A trigger whose module the triggerer does not have."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "no_such_module.Lost", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(None)


class Defers(BaseOperator):
    """An operator that defers to it."""

    def execute(self, context: Any) -> None:
        del context
        self.defer(trigger=Lost(), method_name="execute")


@dag(schedule=None)
def trigger_import() -> None:
    Defers(task_id="work")


run_too_long()
of_the_provider()
program_is_killed()
never_comes()
trigger_import()


@dag(schedule=None)
def many_rows() -> None:
    @task(task_id="work")
    def work(number: int) -> None:
        raise ValueError(f"row {number} is bad")

    work.expand(number=list(range(3)))


many_rows()
