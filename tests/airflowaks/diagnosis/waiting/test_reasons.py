"""What holds what waits: facts in, sentences out, a case for each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from airflowaks.diagnosis.facts.waiting import Wait
from airflowaks.diagnosis.waiting.answer import WAITING_MIME, Chain, Link, grouped, reasons
from airflowaks.diagnosis.waiting.explain import explain, target
from airflowaks.errors import InvalidParameter
from airflowaks.session import open_session
from tests.support.rule_cases import facts_of, text_of

CASES = yaml.safe_load(Path(__file__).with_name("reasons.yaml").read_text(encoding="utf-8"))
WAIT = TypeAdapter(Wait)


def wait_of(case: dict[str, Any]) -> Wait:
    unknown = set(case["wait"]) - set(Wait.__dataclass_fields__)
    assert not unknown
    return WAIT.validate_python(text_of(case["wait"]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["what"])
def test_case(case: dict[str, Any]) -> None:
    wait, facts = wait_of(case), facts_of(case.get("facts", {}))
    held = reasons(wait, facts)
    assert [reason.holds for reason in held] == case["holds"]
    assert list(held[-1].by) == case.get("by", list(held[-1].by))
    assert case.get("action", "") in held[0].action
    assert held[0].held_by == (tuple(case["next"]) if "next" in case else None)
    for reason in held:
        assert reason.action.endswith(".")


def test_each_reason_has_a_case() -> None:
    """A function that no case reaches would be one that nobody has seen work."""
    from airflowaks.diagnosis.waiting.dags import DAG, RUN
    from airflowaks.diagnosis.waiting.executors import AFTER_THE_QUEUE
    from airflowaks.diagnosis.waiting.tasks import BEFORE_THE_QUEUE

    cases = [(wait_of(case), facts_of(case.get("facts", {}))) for case in CASES]
    of = {DAG: lambda wait: not wait.run, RUN: lambda wait: wait.run and not wait.task}
    of |= {BEFORE_THE_QUEUE: lambda wait: wait.task, AFTER_THE_QUEUE: lambda wait: wait.task}
    explains = {explain for explains in of for explain in explains}
    reached = {
        explain
        for explains, applies in of.items()
        for explain in explains
        for wait, facts in cases
        if applies(wait) and explain(wait, facts)
    }
    assert {explain.__name__ for explain in explains - reached} == set()


def test_all_that_waits_is_grouped_by_what_holds_it() -> None:
    waits = [
        {"dag": f"dag{n}", "run": "r", "task": "load", "state": "scheduled", "pool": "small", "count": 30, "seconds": n}
        for n in (400, 500)
    ]
    waits += [{"dag": "watch", "run": "r", "task": "file", "state": "deferred", "triggerer": 1, "seconds": 9000}]
    waits += [{"dag": "late", "run": "r2", "run_state": "queued", "paused": True, "seconds": 800}]
    groups = grouped(facts_of({"airflow": {"waiting": {"waits": waits}}}))
    assert [(group.reason.kind, group.summary) for group in groups.groups] == [
        ("limit", "60 tasks of 2 DAGs, for up to 8 min, such as dag500/r/load"),
        ("choice", "run late/r2, for 13 min"),
    ]
    shown = str(groups)
    assert shown.index("60 tasks") < shown.index("There is no pool small") < shown.index("→ Create it")
    assert len(groups.mimebundle()[WAITING_MIME]) == 2
    assert str(grouped(facts_of({}))) == "Nothing has waited longer than usual."


def test_a_chain_shows_what_holds_what() -> None:
    facts = facts_of({})
    first = Wait("sales", "r2", run_state="queued", max_active_runs=1, running_runs=("r1",))
    second = Wait("sales", "r1", "load", state="scheduled", pool="small", seconds=400)
    links = tuple(Link(wait, reasons(wait, facts), depth) for depth, wait in enumerate((first, second)))
    shown = str(Chain("sales/r2", links))
    assert shown.index("run sales/r2") < shown.index("held by task sales/r1/load") < shown.index("There is no pool")


@pytest.mark.parametrize("text", ["a//c", "a/b/c/d", "/", " a", "a/"])
def test_a_target_is_a_dag_a_run_or_a_task(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r"task must be DAG, DAG/RUN or DAG/RUN/TASK; got"):
        target(text)


def test_a_source_that_does_not_answer_is_shown(rehearsal: object, group_name: str) -> None:
    del rehearsal
    session = open_session("local", "plan")
    settings = session.environment
    session.environment = settings.model_copy(
        update={"resource_group": group_name, "key_vault": settings.key_vault.model_copy(update={"name": group_name})}
    )
    assert "does not exist" in str(explain(session, facts_of({}), "smoke"))
