"""Why tasks failed: the ends of logs in, causes with what to do out."""

from __future__ import annotations

import pytest

from airflowaks.cloud.airflow_api import _lines
from airflowaks.diagnosis.facts.services import FailedTask
from airflowaks.diagnosis.rules.failed_tasks import causes

OWN = "  raised at sales.py:12 in load (the DAG's own code)"


def failed(log: str, task: str = "load") -> FailedTask:
    return FailedTask("sales", task, "2026-11-22T10:04:00Z", log)


@pytest.mark.parametrize(
    ("log", "sentence", "action"),
    [
        (f"ValueError: bad data\n{OWN}", "1 task failed: ValueError: bad data.", "Correct the DAG's file"),
        (f"OrderIsMissing: 7\n{OWN}\nTask failed", "1 task failed: OrderIsMissing: 7.", "Correct the DAG's file"),
        (
            "Process terminated by signal. Likely out of memory error (OOM). For more information, see https://…",
            "1 task failed: the process was killed (SIGKILL), most likely for want of memory: Process terminated ",
            "Raise `airflow.workers.memory`",
        ),
        (
            "Process terminated by signal. For more",
            "1 task failed: the process was ended by a signal: ",
            "Check whether",
        ),
        ("ModuleNotFoundError: No module named 'x'", "1 task failed: the worker's image lacks a package: ", "Add the"),
        ("AirflowTaskTimeout: Timeout, PID: 7", "1 task failed: it took longer than its execution_timeout: ", "Raise"),
        (
            "AirflowNotFoundException: The conn_id `x` isn't defined",
            "1 task failed: a connection is missing: ",
            "Create",
        ),
        ("AirflowRuntimeError: VARIABLE_NOT_FOUND: {'key': 'x'}", "1 task failed: a variable is missing: ", "Create"),
        (
            "sqlalchemy.exc.DataError: value too long",
            "1 task failed: a database refused a value: ",
            "Correct the value",
        ),
        (
            "OperationalError: could not translate host name: Name or service not known",
            "1 task failed: a host's name could not be resolved: ",
            "Check the name",
        ),
        ("HTTPError: 401 Client Error", "1 task failed: a service refused its token or its rights: ", "Check the id"),
        ("OperationalError: server closed the connection", "1 task failed: a connection failed: ", "Check the service"),
        ("all is well", "1 task failed.", "Check the logs"),
    ],
)
def test_an_exception_tells_what_to_do(log: str, sentence: str, action: str) -> None:
    (cause,) = causes([failed(log)], {})
    assert cause.sentence.startswith(sentence)
    assert cause.fix.startswith(action)
    assert "task load of DAG sales at 2026-11-22T10:04:00Z" in cause.evidence


def test_the_same_exception_of_many_tasks_is_one_cause() -> None:
    logs = ["", f"KeyError: row 17\n{OWN}", f"KeyError: row 18\n{OWN}", "ValueError: bad data"]
    sentences = [cause.sentence for cause in causes([failed(log, f"t{n}") for n, log in enumerate(logs)], {})]
    assert sentences == [
        "2 tasks failed: KeyError: row 17.",
        "1 task failed: ValueError: bad data.",
        "1 task failed.",
    ]


def test_a_log_tells_where_what_was_raised() -> None:
    def error(kind: str, *frames: str) -> dict[str, object]:
        return {
            "exc_type": kind,
            "exc_value": "x",
            "frames": [{"filename": f, "lineno": 3, "name": "f"} for f in frames],
        }

    lib = "/venv/lib/site-packages"
    outer = error("Outer", f"{lib}/airflow/sdk/a.py", "/opt/airflow/dags/a/b.py", f"{lib}/requests/c.py")
    cause = error("Cause", f"{lib}/airflow/providers/http/hooks/d.py")
    assert list(_lines({"event": "Task failed", "error_detail": [outer, cause]})) == [
        "Task failed",
        "Cause: x",
        "  raised at airflow/providers/http/hooks/d.py:3 in f (the provider http)",
        "Outer: x",
        "  raised at a/b.py:3 in f (the DAG's own code)",
    ]


@pytest.mark.parametrize(
    ("outcome", "often"),
    [((2, 2), ", as each of its last 2 times"), ((1, 9), ", as 1 of its last 9 times"), ((1, 1), "")],
)
def test_a_task_fails_always_or_now_and_then(outcome: tuple[int, int], often: str) -> None:
    (cause,) = causes([failed("ValueError: x")], {"sales/load": outcome})
    assert list(cause.evidence) == [f"task load of DAG sales at 2026-11-22T10:04:00Z{often}"]
