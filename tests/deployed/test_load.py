"""Many tasks at once: KEDA brings workers, the autoscaler machines for them, no task is lost; then the workers go."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from airflowaks.config.environment import load_environment
from airflowaks.engine.checks import CHECKS_MIME
from airflowaks.engine.polling import wait_until
from tests.support.notebooks import execute
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from tests.support.deployed import Deployed

TASKS = 200
FEWER_SECONDS = 600.0
"""KEDA's autoscaler removes workers that have been too many for five minutes."""


@pytest.mark.story
def test_tasks_at_once_bring_all_workers_which_go_again_and_none_is_lost(airflow: Deployed) -> None:
    """As `papermill -p load 200` runs step 7; `python tests/benchmarks/load.py` measures it."""
    workers = load_environment("local").airflow.workers
    record = execute(REPOSITORY / "notebooks/07_airflow.ipynb", airflow.records / "load.ipynb", load=TASKS)
    assert not record.errors
    (observed,) = [check["seen"] for check in record.shown(CHECKS_MIME)[-1] if check["name"] == "tasks run at once"]
    words = re.fullmatch(rf"\S+: {TASKS} tasks in \d+ s, on up to (\d+) workers; none was lost", observed)
    assert words, observed
    assert int(words[1]) == workers.max_count
    left = wait_until(
        lambda: len(airflow.pods("worker")), lambda count: count == workers.min_count, FEWER_SECONDS, longest_pause=1
    )
    assert left == workers.min_count
