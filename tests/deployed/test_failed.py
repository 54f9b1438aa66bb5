"""Why did it fail? Every kind of failure of tasks, made for real on the deployed Airflow."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from airflowaks.diagnosis.diagnose import apply_fix
from airflowaks.diagnosis.finding import Severity
from airflowaks.diagnosis.remedies import raise_pool, unpause
from airflowaks.session import open_session
from tests.support.drills.drill import NAME, Scene
from tests.support.failing.failing import CLEARED, FAILURES, Failing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.diagnosis.diagnose import Diagnosis
    from airflowaks.diagnosis.finding import Finding
    from airflowaks.session import Mode
    from tests.support.deployed import Deployed

pytestmark = pytest.mark.drill
MODES: tuple[Mode, ...] = ("plan", "apply", "apply")


@pytest.fixture(scope="module")
def failing(airflow: Deployed) -> Iterator[Failing]:
    made = Failing(Scene(airflow.cloud))
    try:
        made.settle()
        yield made
    finally:
        made.forget()


@pytest.fixture(scope="module")
def diagnosis(failing: Failing) -> Diagnosis:
    seen = failing.diagnosis()
    print(seen)
    return seen


def every(diagnosis: Diagnosis) -> list[Finding]:
    return [one for finding in diagnosis.findings for one in (finding, *finding.consequences)]


@pytest.mark.parametrize(("dag", "expected"), FAILURES.items(), ids=FAILURES)
def test_why_it_failed(diagnosis: Diagnosis, dag: str, expected: tuple[str, str, str]) -> None:
    rule, sentence, evidence = expected
    of_the_rule = [finding for finding in every(diagnosis) if finding.id == rule]
    assert of_the_rule, dag
    texts = [(finding.cause, " | ".join(finding.evidence)) for finding in of_the_rule]
    assert [cause for cause, lines in texts if sentence in f"{cause} {lines}" and evidence in lines], texts


def test_what_succeeded_in_the_end_is_not_told(diagnosis: Diagnosis) -> None:
    assert "now_and_then" not in str(diagnosis)


def test_the_event_of_a_full_node_is_why_a_process_was_killed(failing: Failing) -> None:
    name = failing.report_a_full_node()
    killed = [finding for finding in every(failing.diagnosis()) if finding.id == "AKA-921"]
    assert killed
    for finding in killed:
        assert "while a node was out of memory" in finding.cause
        assert finding.evidence[0].startswith(f"event of Node {name} at ")


@pytest.mark.parametrize("rule", CLEARED)
def test_lost_tasks_are_cleared_and_queued_again_once(failing: Failing, diagnosis: Diagnosis, rule: str) -> None:
    with closing(open_session("local", "plan")) as session:
        planned = apply_fix(session, diagnosis, rule)
    assert [change.applied for change in planned] == [False]
    with closing(open_session("local")) as session:
        (change,) = apply_fix(session, diagnosis, rule)
        assert str(change.differences[0]) == "work.state: failed → cleared"
        assert not apply_fix(session, diagnosis, rule)
    if rule == "AKA-922":
        failing.scene.await_run("silent", failing.runs["silent"], "success")


def test_a_pool_is_raised_and_a_dag_unpaused_once(failing: Failing) -> None:
    scene = failing.scene
    with scene.kept("pools", name=NAME, slots=1), scene.api() as api:
        api._send("PATCH", "/api/v2/dags/own_code", {"is_paused": True})
        for fix in (partial(raise_pool, pool=NAME, slots=2), partial(unpause, dag="own_code")):
            counts = []
            for mode in MODES:
                with closing(open_session("local", mode)) as session:
                    counts.append([change.applied for change in fix(session)])
            assert counts == [[False], [True], []]
        assert api.slots(NAME) == 2
        assert not api.dag("own_code")["is_paused"]


def test_a_disk_that_was_full_is_a_note_that_says_when(failing: Failing) -> None:
    failing.fill_a_disk()
    assert {"AKA-408": Severity.CRITICAL}.items() <= severities(failing.diagnosis()).items()
    failing.let_time_pass()
    seen = failing.diagnosis()
    assert {"AKA-408": Severity.NOTE}.items() <= severities(seen).items()
    (over,) = [finding for finding in seen.findings if finding.id == "AKA-408"]
    assert over.cause.startswith("Over, last seen at ")


def severities(diagnosis: Diagnosis) -> dict[str, Severity]:
    return {finding.id: finding.severity for finding in diagnosis.findings}
