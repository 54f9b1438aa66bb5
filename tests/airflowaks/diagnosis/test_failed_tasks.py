"""Why tasks failed: the ends of logs in, causes with what to do out."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from airflowaks.cloud.airflow_api import _lines
from airflowaks.diagnosis.facts.services import EXECUTOR_SAYS, Airflow, FailedTask
from airflowaks.diagnosis.facts.snapshot import Snapshot
from airflowaks.diagnosis.finding import Finding, Severity
from airflowaks.diagnosis.readers.failed import _exception
from airflowaks.diagnosis.rules.registry import RULES

OWN = "  raised at sales.py:12 in load (the DAG's own code)"
PROVIDER = (
    "  raised at airflow/providers/http/hooks/http.py:3 in run (the provider http), called by sales.py:12 in load"
)
AT = "2026-11-22T10:04:00Z"
KINDS = ("AKA-72", "AKA-92", "AKA-906")
LOST = f"Executor CeleryExecutor reported that the task instance finished with state failed. Learn{EXECUTOR_SAYS}"


def failed(log: str, task: str = "load", **more: object) -> FailedTask:
    return replace(FailedTask("sales", task, AT, log), **more)  # type: ignore[arg-type]


def found(*tasks: FailedTask) -> list[Finding]:
    facts = Snapshot(airflow=Airflow(failed=tasks))
    return [finding for name, rule in RULES.items() if name.startswith(KINDS) for finding in rule.findings(facts)]


@pytest.mark.parametrize(
    ("log", "rule", "sentence", "action"),
    [
        (f"ValueError: bad data\n{OWN}", "AKA-725", "ValueError: bad data.", "Correct the DAG's file"),
        (f"OrderIsMissing: 7\n{OWN}\nTask failed", "AKA-725", "OrderIsMissing: 7.", "Correct the DAG's file"),
        (f"ValueError: bad data\n{PROVIDER}", "AKA-725", "ValueError: bad data.", "Check what the operator is given"),
        (
            "Process terminated by signal. Likely out of memory error (OOM). For more information, see https://…",
            "AKA-921",
            "its process was killed (SIGKILL), most likely for want of memory: Process",
            "Raise `airflow.workers.memory`",
        ),
        (
            "AirflowException: The command returned a non-zero exit code -9.",
            "AKA-921",
            "its process was killed",
            "Raise",
        ),
        (
            "Process terminated by signal. For more information, see https://a.b (signal_name=SIGTERM)",
            "AKA-921",
            "its process was ended by a signal, or with its worker: ",
            "Check whether",
        ),
        (
            "ModuleNotFoundError: No module named 'x'\nDag not found during start up\nProcess exited abnormally",
            "AKA-726",
            "the image of the worker or triggerer lacks what its code imports: ModuleNotFoundError: No module named ",
            "Add the",
        ),
        ("AirflowTaskTimeout: Timeout, PID: 7", "AKA-722", "it took longer than its execution_timeout: ", "Raise"),
        ("AirflowSensorTimeout: Sensor has timed out", "AKA-722", "what it waited for did not come", "Check what it"),
        (
            "AirflowNotFoundException: The conn_id `x` isn't defined",
            "AKA-724",
            "a connection is missing: ",
            "Create",
        ),
        ("AirflowRuntimeError: VARIABLE_NOT_FOUND: {'key': 'x'}", "AKA-724", "a variable is missing: ", "Create"),
        (
            "InvalidToken: \n  raised at a.py:1 in f (Airflow)",
            "AKA-925",
            "a connection or variable cannot be",
            "Put back",
        ),
        (
            "sqlalchemy.exc.DataError: value too long",
            "AKA-723",
            "a database refused a value: ",
            "Correct the value",
        ),
        (
            "TypeError: cannot serialize object of type x",
            "AKA-723",
            "Airflow's database cannot store what it",
            "Return a",
        ),
        ("OSError: [Errno 28] No space left on device", "AKA-923", "a share or disk is full: ", "Make room"),
        (
            "OperationalError: could not translate host name: Name or service not known",
            "AKA-923",
            "a host's name could not be resolved: ",
            "Check the name",
        ),
        ("HTTPError: 401 Client Error", "AKA-923", "a service refused its token or its rights: ", "Check the id"),
        ("ServerResponseError: Value rejected by database", "AKA-723", "Airflow's database cannot store", "Return a"),
        ("AirflowRuntimeError: API_SERVER_ERROR: {}", "AKA-923", "a connection failed: ", "Check the service that"),
        ("ReadTimeout: read timed out", "AKA-923", "a service did not answer in time: ", "Check the service, or raise"),
        (
            "OperationalError: server closed the connection",
            "AKA-923",
            "a connection failed: ",
            "Check the service that",
        ),
        (
            "Server indicated the task shouldn't be running anymore. Terminating process",
            "AKA-906",
            "somebody ended it, or its run was over: ",
            "See who",
        ),
        ("all is well", "AKA-906", "", "Check the logs"),
    ],
)
def test_an_exception_tells_what_to_do(log: str, rule: str, sentence: str, action: str) -> None:
    (finding,) = found(failed(log))
    assert finding.id == rule
    assert finding.cause.startswith(f"1 task failed: {sentence}" if sentence else "1 task failed.")
    assert finding.fix.startswith(action)
    assert f"task load of DAG sales at {AT}" in finding.evidence


@pytest.mark.parametrize(
    ("event", "rule", "sentence", "automatic"),
    [
        ("heartbeat timeout: Task did not emit heartbeat within time limit", "AKA-922", "the worker sent no", True),
        ("stuck in queued tries exceeded: Task was requeued more than 2 times", "AKA-924", "it was queued again", True),
        (
            f"state mismatch: {LOST}Invalid auth token: 403",
            "AKA-924",
            "the worker could not begin it: Invalid auth",
            True,
        ),
        (
            f"state mismatch: {LOST}Worker exited prematurely: signal 9 (SIGKILL) Job: 0.",
            "AKA-921",
            "its process was killed (SIGKILL)",
            False,
        ),
        (
            "state mismatch: it finished with state failed; its state attribute is queued.",
            "AKA-924",
            "the worker",
            True,
        ),
        (
            "state mismatch: it finished with state failed; its state attribute is running.",
            "AKA-921",
            "its proc",
            False,
        ),
    ],
)
def test_the_scheduler_tells_where_the_task_could_not(event: str, rule: str, sentence: str, *, automatic: bool) -> None:
    (finding,) = found(failed("ValueError: logged, and caught", event=event))
    assert (finding.id, finding.remedy is not None) == (rule, automatic)
    assert finding.cause.startswith(f"1 task failed: {sentence}")


def test_a_result_of_celerys_is_read_without_running_what_it_holds() -> None:
    class Runs:
        def __reduce__(self) -> object:
            return print, ("it ran",)

    lost = {"exc_type": "WorkerLostError", "exc_message": ["Worker exited prematurely"], "exc_module": "billiard"}
    assert _exception(pickle.dumps(lost | {"more": Runs()})) == "WorkerLostError: Worker exited prematurely"
    assert not _exception(pickle.dumps([]))
    assert not _exception(None)


def test_a_task_that_ended_itself_is_believed_before_the_scheduler() -> None:
    (finding,) = found(failed(f"Task failed with exception\nValueError: x\n{OWN}", event="heartbeat timeout: late"))
    assert finding.cause == "1 task failed: ValueError: x."


def test_the_triggerers_exception_is_that_of_the_task_that_it_failed() -> None:
    frames = '  File "/lib/site-packages/airflow/x.py", line 7, in load\n  File "<frozen x>", line 9, in y'
    traceback = f"Trigger failed:\nTraceback:\n{frames}\nModuleNotFoundError: No m"
    (finding,) = found(failed(f"{traceback}\nTaskDeferralError: Trigger failure\n  raised at a.py:1 in f (Airflow)"))
    assert finding.id == "AKA-726"
    assert finding.evidence[0] == "raised at airflow/x.py:7 in load (Airflow), in the triggerer"


def test_a_variable_that_is_there_cannot_be_decrypted() -> None:
    (finding,) = found(
        failed("AirflowRuntimeError: VARIABLE_NOT_FOUND: {'message': 'Variable x not found'}", encrypted=True)
    )
    assert finding.id == "AKA-925"
    assert finding.cause.startswith("1 task failed: a connection or variable cannot be decrypted: ")


def test_the_same_exception_of_many_tasks_is_one_cause() -> None:
    logs = ["", f"KeyError: row 17\n{OWN}", f"KeyError: row 18\n{OWN}", "ValueError: bad data"]
    findings = found(*(failed(log, f"t{n}") for n, log in enumerate(logs)))
    assert [finding.cause for finding in findings] == [
        "2 tasks failed: KeyError: row 17.",
        "1 task failed: ValueError: bad data.",
        "1 task failed.",
    ]


def test_ten_thousand_failures_of_a_mapped_task_and_those_of_another_dag_are_one_cause_since_the_first() -> None:
    many = failed(f"KeyError: row 17\n{OWN}", count=10_000, since="2026-11-22T09:00:00Z", failed=50, ended=50)
    few = replace(many, dag="stock", count=1, since="", failed=1, ended=9)
    (finding,) = found(many, few)
    assert finding.cause == "10001 tasks of 2 DAGs failed: KeyError: row 17."
    assert finding.evidence == (
        "raised at sales.py:12 in load (the DAG's own code)",
        "since 2026-11-22T09:00:00Z, in DAG sales, stock",
        f"task load of DAG sales at {AT}, 10000 times since 2026-11-22T09:00:00Z, as each of its last 50 tries",
        "and 1 more",
    )


def test_a_run_that_took_too_long_is_no_task() -> None:
    event = "dagrun_timeout: the run took longer than 60 seconds"
    (finding,) = found(FailedTask("sales", "", AT, event=event))
    assert (finding.id, finding.cause) == ("AKA-722", f"1 run failed: {event}.")
    assert finding.evidence == (f"a run of DAG sales at {AT}",)


def test_what_has_succeeded_since_is_a_note() -> None:
    (finding,) = found(failed("ConnectionError: x", succeeded="2026-11-22T10:30:00Z"))
    assert (finding.id, finding.severity) == ("AKA-923", Severity.NOTE)
    assert finding.fix.startswith("Do nothing")
    assert "it has succeeded since, at 2026-11-22T10:30:00Z" in finding.evidence[0]
    (finding,) = found(failed("ConnectionError: x", succeeded="2026-11-22T10:00:00Z"))
    assert finding.severity is Severity.WARNING


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
    first = error("First", f"{lib}/airflow/sdk/a.py", "/opt/airflow/dags/a/b.py")
    assert list(_lines({"event": "Task failed", "error_detail": [outer, cause, first]})) == [
        "Task failed",
        "First: x",
        "  raised at a/b.py:3 in f (the DAG's own code)",
        "Cause: x",
        "  raised at airflow/providers/http/hooks/d.py:3 in f (the provider http)",
        "Outer: x",
        "  raised at requests/c.py:3 in f (the package requests), called by a/b.py:3 in f",
    ]
    assert list(_lines({"event": "Task exited", "exit_code": 3})) == ["Task exited (exit_code=3)"]
    python = error("Last", "/opt/airflow/dags/a/b.py", "/usr/lib/python3.11/socket.py")
    (_, _, place) = _lines({"event": "Task failed", "error_detail": [python]})
    assert place == "  raised at socket.py:3 in f (Python), called by a/b.py:3 in f"
    assert list(_lines("plain")) == ["plain"]


@pytest.mark.parametrize(
    ("outcome", "often"),
    [((2, 2), ", as each of its last 2 tries"), ((1, 9), ", as 1 of its last 9 tries"), ((1, 1), "")],
)
def test_a_task_fails_always_or_now_and_then(outcome: tuple[int, int], often: str) -> None:
    (finding,) = found(failed("ValueError: x", failed=outcome[0], ended=outcome[1]))
    assert finding.evidence == (f"task load of DAG sales at {AT}{often}",)
