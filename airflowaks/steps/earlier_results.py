"""Celery's results from before Celery had a database of its own: they follow as the workers that write them end.

A worker finishes its tasks before it ends, and writes their results where it was told to when it began: in Airflow's
database. The scheduler asks the new database alone. It learns a task's state from the api-server, but until it sees
Celery's result the task keeps one of the executor's slots, and a task that was deferred or whose process was killed is
queued again only after ten minutes. Source: BaseExecutor.slots_available and CeleryExecutor.update_task_state of
apache-airflow 3.3.2 and its provider celery 3.26.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.node_pools import LONGEST_TASK_SECONDS
from airflowaks.engine.polling import wait_until
from airflowaks.engine.resource import Facts, Resource
from airflowaks.errors import NotConverged
from airflowaks.kube import exec as command
from airflowaks.kube.client import connect
from airflowaks.steps import backend
from airflowaks.steps.api_server import ready_pods

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflowaks.kube.objects import KubeObject

_PROGRAM = "/etc/airflow/programs/move_results.py"
_CHECKSUM, _WORKERS = "checksum/secrets", "app.kubernetes.io/component=worker"


class EarlierResults(Resource):
    """The results in Airflow's database: moved to Celery's, and their tables dropped."""

    kind = "Celery results"

    def __init__(self, worker: KubeObject, *, depends_on: Sequence[Resource]) -> None:
        database = worker.session.memoize(backend.Resources).celery_database
        super().__init__(worker.session, database.name, depends_on=depends_on)
        self.database, self.worker = database, worker

    @property
    def id(self) -> str:
        """Return the resource ID of the database that the results are moved to."""
        return self.database.id

    def read(self) -> Facts:
        """Look, in a scheduler's pod, whether there are results in Airflow's database."""
        return {"moved": not self._run("look")}

    def desired(self) -> Facts:
        """Want no results in Airflow's database."""
        return {"moved": True}

    def write(self, facts: Facts | None) -> None:
        """Copy results until the workers that write them have ended, then drop the tables.

        Raises NotConverged where a worker still runs after an hour.
        """
        del facts
        left = wait_until(self._copy, lambda pods: not pods, LONGEST_TASK_SECONDS)
        self.activity = ""
        if left:
            message = f"Celery results: pod {left[0]} still runs tasks, whose results go to Airflow's database."
            raise NotConverged(message, "Run step 7 again when it has ended, or delete the pod.")
        self._run("move")

    def _copy(self) -> list[str]:
        """Copy the results so far, and return the workers that may write more: those that began with other secrets."""
        new = self.worker.require("spec")["template"]["metadata"]["annotations"][_CHECKSUM]
        namespace, running = self.worker.reference.namespace, "status.phase=Running"
        pods = self.session.memoize(connect).each("v1", "Pod", namespace, labels=_WORKERS, fields=running)
        left = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["annotations"][_CHECKSUM] != new]
        tasks = f"waiting up to {LONGEST_TASK_SECONDS // 60} min for the tasks of {', '.join(left)} to end"
        self.activity = tasks if left else ""
        self._run("copy")
        return left

    def _run(self, action: str) -> str:
        scheduler = ready_pods(self.session, "scheduler")[0]
        program = ("python", _PROGRAM, action)
        return command.run(self.session.memoize(connect), scheduler, program, container="scheduler").decode().strip()
