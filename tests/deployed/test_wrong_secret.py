"""A component with another secret than the rest: what its tasks' logs say, and the logs of the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from airflowaks.session import open_session
from airflowaks.steps import airflow as step7

if TYPE_CHECKING:
    from tests.support.deployed import Deployed


@pytest.mark.story
def test_a_scheduler_with_another_jwt_secret_fails_every_task_without_a_word_in_its_log(airflow: Deployed) -> None:
    airflow.set_variable(
        "scheduler", name="AIRFLOW__API_AUTH__JWT_SECRET", value="another-secret-another-secret-another"
    )
    try:
        healthy, consumes, runs = step7.checks(open_session("local"))
        assert healthy.passed
        assert consumes.passed
        assert not runs.passed
        # Of what the task does its log says nothing, at most that it was about to begin.
        empty = (
            r"is failed; its log ends with: ::group::[^|]* \| [^|]*\.log \| ::endgroup::( \| ::group::Pre Execute)?$"
        )
        assert re.search(empty, runs.seen)
        assert "InvalidSignatureError: Signature verification failed" in airflow.log("api-server")
        assert re.search(r"path=/execution/task-instances/\S+/run .*status_code=403", airflow.log("api-server"))
        assert "ServerResponseError: Invalid auth token" in airflow.log("worker")
    finally:
        airflow.set_variable("scheduler", **{"name": "AIRFLOW__API_AUTH__JWT_SECRET", "$patch": "delete"})
