"""What a load of tasks costs: 200 short ones at once on a deployed Airflow, while workers come and go.

    python tests/benchmarks/load.py [--tasks N]

prints a row in Markdown. Airflow is deployed in a rehearsal cloud of its own, whose pods share the machine with it. The
check of step 7 runs the tasks, and fails where one is lost; then workers are watched until only the fewest are left,
which KEDA and its autoscaler wait five minutes for.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from airflowaks.kube.client import Kube, connect
from airflowaks.session import open_session
from airflowaks.steps import airflow, airflow_checks
from tests.support.deployed import NAMESPACE
from tests.support.notebooks import execute
from tests.support.rehearsal import own_rehearsal
from tests.support.repository import REPOSITORY

LONGEST_SECONDS = 900.0


class Watch:
    """Counts workers and nodes every second, until there are as few workers as before."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.fewest = self.workers()
        self.most, self.most_nodes = self.fewest, 0

    def workers(self) -> int:
        """The workers, those that are about to end too."""
        return sum(1 for _ in self._kube.each("v1", "Pod", NAMESPACE, labels="app.kubernetes.io/component=worker"))

    def look(self) -> int:
        workers = self.workers()
        self.most = max(self.most, workers)
        self.most_nodes = max(self.most_nodes, sum(1 for _ in self._kube.each("v1", "Node")))
        return workers


def measure(tasks: int) -> None:
    """Deploy, load, watch, and print."""
    with tempfile.TemporaryDirectory() as records, own_rehearsal():
        execute(REPOSITORY / "notebooks/00_deploy.ipynb", Path(records) / "00_deploy.ipynb", records=records)
        session = open_session("local")
        watch, over = Watch(session.memoize(connect)), threading.Event()

        def watching() -> None:
            while not over.wait(1):
                watch.look()

        thread = threading.Thread(target=watching, daemon=True)
        thread.start()
        begun = time.monotonic()
        said = airflow_checks.tasks_run_at_once(session, tasks)
        seconds = time.monotonic() - begun
        over.set()
        thread.join()
        while watch.look() > watch.fewest and time.monotonic() < begun + seconds + LONGEST_SECONDS:
            time.sleep(1)
        fewer = time.monotonic() - begun - seconds
        assert not airflow.checks(session).failed
    print(f"{said}\n{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}\n")
    print("| tasks at once | seconds | workers | nodes | lost | seconds until the workers are as few as before |")
    print("|---|---|---|---|---|---|")
    print(f"| {tasks} | {seconds:.0f} | {watch.fewest} to {watch.most} | {watch.most_nodes} | 0 | {fewer:.0f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", type=int, default=200)
    measure(parser.parse_args().tasks)
