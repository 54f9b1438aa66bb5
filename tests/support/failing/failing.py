"""Every kind of failure of tasks, at the same time on a deployed Airflow."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.diagnosis.diagnose import diagnose
from airflowaks.diagnosis.readers.backend import opened_database
from airflowaks.engine.polling import retry_on
from airflowaks.engine.times import timestamp
from airflowaks.kube import exec as command
from airflowaks.session import open_session
from airflowaks.steps import key_vault, volumes
from tests.support.drills.drill import is_unknown
from tests.support.waiting.held import SCALED, SECONDS, await_true

if TYPE_CHECKING:
    from airflowaks.cloud.airflow_api import AirflowApi
    from airflowaks.diagnosis.diagnose import Diagnosis
    from tests.support.drills.drill import Scene

FOLDER = Path(__file__).parent
NAME = "failing"
FAILURES = {
    "own_code": ("AKA-725", "KeyError: 'amount'", "raised at failing.py:"),
    "of_the_provider": ("AKA-725", "non-zero exit code 3", "the provider standard"),
    "many_rows": ("AKA-725", "3 tasks failed: ValueError: row ", "3 times since "),
    "out_of_memory": ("AKA-921", "its process was killed (SIGKILL)", "DAG out_of_memory"),
    "program_is_killed": ("AKA-921", "exit code -9", "the provider standard"),
    "worker_is_killed": ("AKA-921", "signal 9 (SIGKILL)", "DAG worker_is_killed"),
    "silent": ("AKA-922", "no heartbeat", "DAG silent"),
    "lost": ("AKA-924", "could not begin it", "DAG lost"),
    "early_import": ("AKA-726", "No module named 'only_in_the_dag_processor'", "of_the_processor.py:"),
    "late_import": ("AKA-726", "No module named 'no_such_package'", "the DAG's own code"),
    "trigger_import": ("AKA-726", "No module named 'no_such_module'", "in the triggerer"),
    "too_long": ("AKA-722", "execution_timeout", "DAG too_long"),
    "never_comes": ("AKA-722", "AirflowSensorTimeout", "DAG never_comes"),
    "run_too_long": ("AKA-722", "dagrun_timeout: the run took longer than 5 seconds", "a run of DAG run_too_long"),
    "client_time_out": ("AKA-923", "did not answer in time", "DAG client_time_out"),
    "value_too_long": ("AKA-723", "StringDataRightTruncation", "the DAG's own code"),
    "no_json": ("AKA-723", "cannot store what it returned", "Airflow"),
    "no_connection": ("AKA-724", "a connection is missing", "called by failing.py:"),
    "no_variable": ("AKA-724", "a variable is missing", "called by failing.py:"),
    "undecryptable": ("AKA-925", "cannot be decrypted", "called by failing.py:"),
    "no_such_host": ("AKA-923", "could not be resolved", "called by failing.py:"),
    "refused_connection": ("AKA-923", "a connection failed: ConnectionRefusedError", "called by failing.py:"),
    "refused_token": ("AKA-923", "refused its token", "called by failing.py:"),
    "ended_by_hand": ("AKA-906", "somebody ended it", "DAG ended_by_hand"),
}
"""The failure of each DAG: the finding, words of its sentence, and words of its evidence."""
CLEARED = ("AKA-922", "AKA-924")
"""The findings whose fix clears the tasks."""
_RECOVERS = "now_and_then"
_FILLS = "disk_was_full"
_LONG_AGO = "UPDATE task_instance SET end_date = end_date - interval '20 minutes' WHERE dag_id = 'disk_was_full'"
_LOSE = """
import sys
from airflow.providers.celery.executors.celery_executor import app
app.backend.store_result(sys.argv[1], RuntimeError("Invalid auth token"), "FAILURE")
"""
_DAMAGE = "UPDATE variable SET val = 'gAAAAABnothing' WHERE key = 'failing'"
_SILENCE = "UPDATE task_instance SET last_heartbeat_at = now() - interval '1 hour' WHERE dag_id = 'silent'"


class Failing:
    """What fails, and how it is diagnosed."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.runs: dict[str, str] = {}

    def settle(self) -> None:
        """Run all DAGs, and return once each has failed."""
        self.scene.patch(SCALED, {"spec": {"minReplicaCount": 2}}, "application/merge-patch+json")
        volumes.push_dags(self.scene.session, str(FOLDER / "dags"))
        with self.scene.api() as api:
            self._keep(api)
            for dag in (*FAILURES, _RECOVERS):
                retry_on(lambda dag=dag: api.definitions(dag), is_unknown, SECONDS)
                api.unpause(dag)
                self.runs[dag] = api.trigger(dag)
            await_true(lambda: _state(api, "silent") == "running", "silent")
            self.scene.as_airflow(_SILENCE)
            await_true(lambda: _state(api, "ended_by_hand") == "running", "ended_by_hand")
            path = f"/api/v2/dags/ended_by_hand/dagRuns/{quote(self.runs['ended_by_hand'])}/taskInstances/work"
            api._send("PATCH", path, {"new_state": "failed"})
            await_true(lambda: _state(api, "lost") == "queued", "lost")
            self._lose()
            for dag in FAILURES:
                await_true(lambda dag=dag: api.state(dag, self.runs[dag]) == "failed", dag)
            await_true(lambda: api.state(_RECOVERS, self.runs[_RECOVERS]) == "success", _RECOVERS)

    def _keep(self, api: AirflowApi) -> None:
        """Keep what tasks read: a connection to the database, and a variable that no key decrypts."""
        url = DatabaseUrl.parse(self.scene.step(key_vault).sql_connection.require("value").reveal())
        connection = {"connection_id": NAME, "conn_type": "postgres", "host": url.host, "port": url.port}
        connection |= {"schema": url.database, "login": url.user, "password": url.password}
        api._send("POST", "/api/v2/connections", connection)
        api._send("POST", "/api/v2/variables", {"key": NAME, "value": "secret"})
        self.scene.as_airflow(_DAMAGE)

    def _lose(self) -> None:
        """Have the executor learn that the task ended, which no worker has begun."""
        with closing(open_session("local", "plan")) as session:
            (row,) = opened_database(session).rows(
                "SELECT external_executor_id AS id FROM task_instance WHERE dag_id = 'lost'"
            )
        worker = self.scene.pods("worker")[0]
        command.run(self.scene.kube, worker, ("python", "-c", _LOSE, row["id"]), container="worker")

    def report_a_full_node(self) -> str:
        """Have the kubelet of a node report that the kernel killed a process, and return the node's name."""
        name = next(node["metadata"]["name"] for node in self.scene.kube.each("v1", "Node"))
        event = {
            "metadata": {"name": f"{name}.{NAME}", "namespace": "default"},
            "involvedObject": {"kind": "Node", "name": name},
            "type": "Warning",
            "reason": "SystemOOM",
            "message": "System OOM encountered, victim process: airflow, pid: 4711",
            "lastTimestamp": timestamp(),
        }
        self.scene.kube.request("POST", "/api/v1/namespaces/default/events", {}, event)
        return str(name)

    def fill_a_disk(self) -> None:
        """Have a task find a full disk."""
        self.scene.fail(_FILLS)

    def let_time_pass(self) -> None:
        """Have that be twenty minutes ago, since when another task has succeeded."""
        self.scene.as_airflow(_LONG_AGO)

    def forget(self) -> None:
        """Have everything as it was before."""
        with self.scene.api() as api:
            for kind in ("connections", "variables"):
                api._send("DELETE", f"/api/v2/{kind}/{NAME}")
            for dag in (*FAILURES, _RECOVERS, _FILLS):
                if _is_known(api, dag):
                    api._send("DELETE", f"/api/v2/dags/{dag}")
        self.scene.patch(SCALED, {"spec": {"minReplicaCount": 1}}, "application/merge-patch+json")
        before = self.scene.pods("scheduler")
        self.scene.replace("scheduler")  # its executor keeps the slots of tasks whose runs were deleted
        self.scene.await_rolled("scheduler", before)

    def diagnosis(self) -> Diagnosis:
        with closing(open_session("local", "plan")) as session:
            return diagnose(session)


def _is_known(api: AirflowApi, dag: str) -> bool:
    query = f"/api/v2/dags?limit=1&exclude_stale=false&dag_id_pattern={dag}"
    return bool(api._send("GET", query)["total_entries"])


def _state(api: AirflowApi, dag: str) -> str:
    tasks = api._send("GET", f"/api/v2/dags/{dag}/dagRuns/~/taskInstances?limit=1&order_by=-id")["task_instances"]
    return str(tasks[0]["state"]) if tasks else ""
