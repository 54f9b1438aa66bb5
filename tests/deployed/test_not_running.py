"""Why is it not running? Everything that can hold a DAG, a run or a task, held for real on the deployed Airflow."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from airflowaks.diagnosis.waiting.answer import grouped
from airflowaks.diagnosis.waiting.explain import explain
from airflowaks.errors import InvalidParameter
from airflowaks.session import open_session
from airflowaks.steps.airflow_checks import SMOKE_DAG
from tests.support.drills.drill import Scene
from tests.support.waiting.held import Held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.session import Session
    from tests.support.deployed import Deployed

NOBODY = "No worker consumes the queue nobody."
SILENT = "No scheduler is looping, so nothing is scheduled."
# What is asked for (a run by its number), and how the first sentence of each link of the answer begins.
ANSWERS = {
    "halted": ["DAG halted is paused.", "DAG halted is paused."],
    "halted/0/work": ["DAG halted is paused.", "DAG halted is paused."],
    "no_such_thing": ["Airflow knows no DAG no_such_thing: no file that it has parsed defines it."],
    "broken": ["The file of DAG broken cannot be imported, so Airflow does not schedule it.", NOBODY],
    "broken/0": ["The file of DAG broken cannot be imported, so Airflow does not schedule it.", NOBODY],
    "gone/0/follows": ["DAG gone is stale: its file was removed, or does not define the DAG any more.", NOBODY],
    "gone/0/waits": [NOBODY],  # a worker would take it: nothing looks at the DAG any more
    "trimmed/0/extra": ["The task is no longer in its DAG: it was removed from the file after the run began."],
    "later": ["The next run of DAG later is due in "],
    "over": ["DAG over has no more scheduled runs: its end_date was 2020-01-03T00:00:00Z."],
    "by_asset": ["DAG by_asset runs when its assets are updated, and some have not been updated since its last run."],
    "by_hand": ["DAG by_hand has no schedule: it runs only when it is triggered."],
    "one_run/1/work": [
        "Its run is queued, not running.",
        "DAG one_run may have 1 active run (max_active_runs), and has 1.",
        "",  # the run that runs
        NOBODY,
    ],
    "past/1/waits": [
        "The task depends on its past (depends_on_past), and has not succeeded in the run before.",
        NOBODY,
    ],
    "past_downstream/1/work": [
        "The task waits for its downstream tasks of the run before (wait_for_downstream).",
        "",
        NOBODY,
    ],
    "upstream/0/after_failed": [
        "The task will not run: an upstream task failed, and its trigger rule is all_success.",
        "The task failed.",
    ],
    "upstream/0/after_skipped": [
        "The task will not run: an upstream task was skipped, and its trigger rule is all_success.",
        "The task was skipped by itself or by a branch.",
    ],
    "upstream/0/after_waiting": ["The task waits for its upstream tasks: its trigger rule is all_done.", NOBODY],
    "after_its_end/0/work": ["The run has no instance of the task: its logical date is outside of the task's dates"],
    "no_pool/0/work": ["There is no pool none_such: Airflow never queues a task of a pool that does not exist."],
    "wants_pool/0/work": ["The pool small is full: 1 of 1 slots are taken."],
    "wants_more/0/work": ["The task needs 5 slots of the pool small, which has 1."],
    "one_task/0": ["", "A run of DAG one_task may have 1 active task (max_active_tasks), and has 1.", NOBODY],
    "one_instance/1": [
        "",
        "Of task waits of DAG one_instance at most 1 may be active (max_active_tis_per_dag), and 1 are.",
    ],
    "one_of_a_run/0": [
        "",
        "Of task each of DAG one_of_a_run at most 1 may be active (max_active_tis_per_dagrun), and 1 are.",
        NOBODY,
    ],
    "repeats/0/breaks": ["The task failed and is to be repeated in "],
    "looks_again/0/file": ["The sensor looks again in "],
    "defers/0/a_day": ["The task is deferred for "],
    "asks/0/somebody": ["The task waits for the answer of a person."],
    "pokes/0/file": ["The task runs, for "],
    "wants_slot/0/work": ["All worker slots are taken: 2 of 2, by sensors in poke mode."],
}

MANY = """
INSERT INTO task_instance
SELECT (jsonb_populate_record(done, jsonb_build_object('id', gen_random_uuid(), 'map_index', n, 'state', 'scheduled',
                              'scheduled_dttm', now() - interval '10 minutes'))).*
FROM task_instance done, generate_series(1, 10000) n
WHERE done.id = (SELECT id FROM task_instance WHERE state = 'success' LIMIT 1)
"""


@pytest.mark.broad
def test_a_dag_that_is_paused_and_one_that_is_not_known(airflow: Deployed) -> None:
    scene = Scene(airflow.cloud)
    with scene.api() as api:
        api._send("PATCH", f"/api/v2/dags/{SMOKE_DAG}", {"is_paused": True})
        run = api.trigger(SMOKE_DAG)
    held = Held(scene)
    held.runs[SMOKE_DAG] = [run]
    facts = held.facts()
    assert not facts.unread("airflow.waiting")
    with closing(open_session("local", "plan")) as session:
        assert held.explain(session, facts, f"{SMOKE_DAG}/0") == [[f"DAG {SMOKE_DAG} is paused."]]
        assert "Did you mean smoke?" in str(explain(session, facts, "smoek"))
        with pytest.raises(InvalidParameter, match='DAG smoke has no run "yesterday"'):
            explain(session, facts, f"{SMOKE_DAG}/yesterday")
        with pytest.raises(InvalidParameter) as raised:
            explain(session, facts, f"{SMOKE_DAG}/{run}/reprot")
    assert raised.value.action == 'Did you mean "report"?'
    with scene.api() as api:
        api.unpause(SMOKE_DAG)
    scene.await_run(SMOKE_DAG, run, "success")


@pytest.mark.broad
def test_ten_thousand_tasks_are_one_line_and_read_within_seconds(airflow: Deployed) -> None:
    """Of a run that is over, so that no scheduler looks after them; before anything else is held."""
    scene = Scene(airflow.cloud)
    scene.as_airflow(MANY)
    try:
        facts = Held(scene).facts()
    finally:
        scene.as_airflow("DELETE FROM task_instance WHERE map_index > 0")
    (wait,) = facts.airflow.waiting.waits
    assert (wait.count, wait.run_state) == (10_000, "success")
    assert [group.reason.holds for group in grouped(facts).groups] == ["Its run is success, not running."]
    assert facts.readings["airflow.waiting"].seconds < 10


@pytest.fixture(scope="module")
def held(airflow: Deployed) -> Iterator[Held]:
    made = Held(Scene(airflow.cloud))
    try:
        made.settle()
        yield made
    finally:
        made.forget()


@pytest.fixture(scope="module")
def facts(held: Held) -> Snapshot:
    return held.facts()


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with closing(open_session("local", "plan")) as opened:
        yield opened


def firsts(links: list[list[str]]) -> list[str]:
    return [next(iter(reasons), "") for reasons in links]


@pytest.mark.drill
@pytest.mark.parametrize(("target", "expected"), ANSWERS.items(), ids=ANSWERS)
def test_what_holds_it(held: Held, facts: Snapshot, session: Session, target: str, expected: list[str]) -> None:
    seen = held.explain(session, facts, target)
    first = firsts(seen) if target != "by_hand" else [seen[0][-1]]  # which is paused, too
    assert len(first) == len(expected)
    for sentence, beginning in zip(first, expected, strict=True):
        assert sentence.startswith(beginning)


@pytest.mark.drill
def test_who_takes_the_slots_and_the_pool(held: Held, facts: Snapshot, session: Session) -> None:
    shown = str(explain(session, facts, f"wants_slot/{held.runs['wants_slot'][0]}/work"))
    assert "taken by pokes/file, for" in shown
    assert "a sensor in poke mode" in shown
    assert "taken by takes_pool/waits" in str(explain(session, facts, f"wants_pool/{held.runs['wants_pool'][0]}/work"))


@pytest.mark.drill
def test_a_full_executor_then_no_scheduler_and_no_triggerer_then_a_lost_task(held: Held) -> None:
    held.fill_the_executor()
    with closing(open_session("local", "plan")) as session:
        seen = held.explain(session, held.facts(), "wants_executor/0/work")
        assert firsts(seen) == [
            "The executor has as many tasks as it may have: 32 of 32 (parallelism of each scheduler)."
        ]
    with held.without("scheduler", "triggerer"), closing(open_session("local", "plan")) as session:
        facts = held.facts()
        assert firsts(held.explain(session, facts, "one_run/1"))[0] == SILENT
        (reasons,) = held.explain(session, facts, "defers/0/a_day")
        assert reasons == [SILENT, "The task is deferred, and no triggerer is looping."]
        (reasons,) = held.explain(session, facts, "later")
        assert reasons[0] == SILENT
    held.lose()
    with closing(open_session("local", "plan")) as session:
        facts = held.facts()
        seen = held.explain(session, facts, "wants_slot/0/work")
        assert firsts(seen) == [
            "The executor lost the task: workers have free slots and consume its queue, and do not get it."
        ]
    causes = [group.reason.holds for group in grouped(facts).groups]
    assert {firsts(seen)[0], NOBODY, "DAG halted is paused."} <= set(causes)
    assert len(causes) == len(set(causes))
