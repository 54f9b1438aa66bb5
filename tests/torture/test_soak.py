"""A deployed Airflow under a DAG every ten seconds, for half an hour, while its components are killed in turn."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from azure.core.exceptions import AzureError

from airflowaks.errors import AirflowAksError
from airflowaks.kube.pods import is_ready
from rehearsal_cloud.kubernetes.container_processes import container_processes
from tests.support.deployed import COMPONENTS, Deployed, until
from tests.support.long_tasks import api, push
from tests.support.notebooks import execute
from tests.support.rehearsal import own_rehearsal, processes_of
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.plugins.torture import Cases

pytestmark = pytest.mark.torture

PERIOD_SECONDS = 10
GROWTH = 1.10
DAG = f'''
"""A run every ten seconds, none of which may be lost."""

from datetime import datetime, timedelta, timezone

from airflow.sdk import dag, task


@dag(
    schedule=timedelta(seconds={PERIOD_SECONDS}),
    start_date=datetime.fromtimestamp(START, timezone.utc),
    end_date=datetime.fromtimestamp(END, timezone.utc),
    catchup=True,
    max_active_runs=3,
)
def soak():
    @task(retries=10, retry_delay=timedelta(seconds=1))
    def beat():
        print("beat")

    beat()


soak()
'''


@pytest.fixture
def soaked(tmp_path: Path) -> Iterator[Deployed]:
    with own_rehearsal() as cloud:
        execute(REPOSITORY / "notebooks/00_deploy.ipynb", tmp_path / "00_deploy.ipynb", records=str(tmp_path))
        yield Deployed(cloud, tmp_path)


def kill(airflow: Deployed, component: str) -> None:
    """Kill the processes of a component's pods as `kill -9` does, and wait until it is ready again."""
    before = {pod["metadata"]["uid"]: restarts(pod) for pod in airflow.pods(component).values()}
    for process in container_processes(airflow.cloud.home / "services"):
        with suppress(psutil.Error):
            if any(uid in word for uid in before for parent in process.parents() for word in parent.cmdline()):
                process.kill()

    def is_back() -> bool:
        pods = airflow.pods(component)
        again = all(uid not in before or restarts(pod) > before[uid] for uid, pod in pods.items())
        return bool(pods) and again and all(map(is_ready, pods.values()))

    until(is_back)


def restarts(pod: Any) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", ()))


def runs(state: str = "") -> int:
    """The number of the DAG's runs in a state."""

    def ask() -> list[int]:
        with suppress(AirflowAksError, AzureError), api() as airflow:
            query = f"limit=1{f'&state={state}' if state else ''}"
            return [int(airflow._send("GET", f"/api/v2/dags/soak/dagRuns?{query}")["total_entries"])]
        return []

    (count,) = until(ask)
    return count


def measure(airflow: Deployed) -> dict[str, int]:
    """What must not grow: the rehearsal's memory, files, connections and threads, and the processes of its home."""
    daemon = psutil.Process(int((airflow.cloud.home / "rehearsal.pid").read_text()))
    return {
        "memory": daemon.memory_info().rss,
        "files": daemon.num_fds(),
        "connections": len(daemon.net_connections()),
        "threads": daemon.num_threads(),
        "processes": len(processes_of(airflow.cloud.home)),
    }


def lowest(airflow: Deployed) -> dict[str, int]:
    """The lowest of some measurements: what a request or a task holds for a moment is no leak."""
    measured = []
    for _ in range(10):
        measured.append(measure(airflow))
        time.sleep(1)
    return {name: min(each[name] for each in measured) for name in measured[0]}


def test_soak(soaked: Deployed, cases: Cases, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    seconds = 60 * float(pytestconfig.getoption("--soak-minutes"))
    start = time.time()
    text = DAG.replace("START", str(start)).replace("END", str(start + seconds))
    push(tmp_path / "dags", soak_py=text)
    with api() as airflow:
        until(lambda: airflow._send("GET", "/api/v2/dags?dag_id_pattern=soak")["total_entries"])
        airflow.unpause("soak")
    until(lambda: runs("success") >= 3)
    for component in COMPONENTS:  # once each, for what is held from then on
        kill(soaked, component)
    before = lowest(soaked)
    while time.time() < start + seconds:
        for component in COMPONENTS:
            with cases.case("component killed", f"{component} after {time.time() - start:.0f} s"):
                kill(soaked, component)
            time.sleep(PERIOD_SECONDS)
    expected = int(seconds // PERIOD_SECONDS)
    with cases.case("no lost run", f"{expected} runs"):
        until(lambda: runs("success") + runs("failed") >= expected)
        assert (runs("failed"), runs()) == (0, runs("success"))
    after = lowest(soaked)
    for name, value in after.items():
        with cases.case("no growth", f"{name}: {before[name]} → {value}"):
            assert value <= before[name] * GROWTH + (0 if name == "memory" else 2)
