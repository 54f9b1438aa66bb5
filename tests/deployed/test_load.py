"""Many tasks at once: KEDA brings workers, the autoscaler machines for them, and no task is lost."""

from __future__ import annotations

import re

import pytest

from airflowaks.config.environment import load_environment
from airflowaks.session import open_session
from airflowaks.steps import airflow_checks

TASKS = 60


@pytest.mark.story
@pytest.mark.usefixtures("airflow")
def test_tasks_at_once_bring_all_workers_and_none_is_lost() -> None:
    """`python tests/benchmarks/load.py` does so with 200."""
    observed = airflow_checks.tasks_run_at_once(open_session("local"), TASKS)
    words = re.fullmatch(rf"\S+: {TASKS} tasks in \d+ s, on up to (\d+) workers; none was lost", observed)
    assert words, observed
    assert int(words[1]) == load_environment("local").airflow.workers.max_count
