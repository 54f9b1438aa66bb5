"""Why a task is not scheduled, or `limits` does not let it be queued, in the order in which Airflow 3 decides.

Source: `TaskInstance.get_failed_dep_statuses` with the dependencies of `airflow/ti_deps/deps/`, which the REST API
reports in Airflow's own words for a task that is not scheduled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.facts.waiting import duration
from airflowaks.diagnosis.waiting.limits import OF_SCHEDULED_TASKS
from airflowaks.diagnosis.waiting.reason import (
    Kind,
    Reason,
    cannot_be_imported,
    is_paused,
    is_stale,
    scheduler_is_silent,
)

if TYPE_CHECKING:
    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.diagnosis.facts.waiting import Wait

_DONE = ("success", "skipped")
_BROKEN = ("failed", "upstream_failed")
_ENDED = (*_DONE, *_BROKEN, "removed")
_IN_AIRFLOWS_WORDS = ("Logical Date", "Ready To Reschedule", "Not In Retry Period", "Not Previously Skipped")


def _run_is_not_running(wait: Wait, _facts: Snapshot) -> Reason | None:
    if wait.run_state == "running" or wait.state in _ENDED:
        return None
    return Reason(
        Kind.LIMIT,
        f"Its run is {wait.run_state}, not running.",
        "See what holds the run." if wait.run_state == "queued" else "Clear the run in Airflow's web pages.",
        held_by=(wait.dag, wait.run, "") if wait.run_state == "queued" else None,
    )


def _depends_on_past(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain `PrevDagrunDep`: the task must have succeeded in the run before, or was skipped; its downstream, too."""
    words = wait.dependencies.get("Previous Dagrun State", "")
    if "wait_for_downstream" in words:  # it succeeded, or this would not be asked
        return Reason(
            Kind.LIMIT,
            "The task waits for its downstream tasks of the run before (wait_for_downstream).",
            "See what holds them; or mark them as success in the run before.",
            (words,),
            (wait.dag, wait.previous_run, "") if wait.previous_run else None,
        )
    stuck = wait.depends_on_past and not wait.state and not wait.dependencies
    if not words and not stuck:
        return None
    return Reason(
        Kind.LIMIT,
        "The task depends on its past (depends_on_past), and has not succeeded in the run before.",
        "Have it succeed in the run before: clear it there, or mark it as success.",
        (words,) if words else (),
        (wait.dag, wait.previous_run, wait.task) if wait.previous_run else None,
    )


def _waits_for_upstream(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain `TriggerRuleDep`: upstream tasks have not ended, or not as the trigger rule wants."""
    pending = {task: state for task, state in wait.upstream.items() if state not in _ENDED}
    if "Trigger Rule" not in wait.dependencies or not pending:
        return None
    return Reason(
        Kind.LIMIT,
        f"The task waits for its upstream tasks: its trigger rule is {wait.rule or 'all_success'}.",
        f"See what holds {next(iter(pending))}.",
        tuple(f"{task} is {state or 'not scheduled'}" for task, state in list(pending.items())[:3]),
        (wait.dag, wait.run, next(iter(pending))),
    )


def _upstream_did_not_satisfy(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain a trigger rule that can no longer be met: the task is `upstream_failed`, skipped or never scheduled."""
    if wait.state not in ("upstream_failed", "skipped"):
        return None
    at_fault = _BROKEN if wait.state == "upstream_failed" else ("skipped",)
    upstream = [task for task, state in wait.upstream.items() if state in at_fault]
    if wait.state == "skipped" and not upstream:
        return Reason(Kind.PLAN, "The task was skipped by itself or by a branch.", "Clear it to have it run after all.")
    if not upstream:
        return None
    failed = wait.state == "upstream_failed"
    return Reason(
        Kind.LIMIT,
        f"The task will not run: an upstream task {'failed' if failed else 'was skipped'}, and its trigger rule is"
        f" {wait.rule or 'all_success'}.",
        f"Fix {upstream[0]}, then clear it with its downstream tasks in Airflow's web pages."
        if failed
        else f"Clear {upstream[0]} with its downstream tasks, or set another trigger_rule.",
        tuple(f"{task} is {wait.upstream[task]}" for task in upstream[:3]),
        (wait.dag, wait.run, upstream[0]),
    )


def _is_not_mapped(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain `MappedTaskIsExpanded` and `MappedTaskUpstreamDep`."""
    words = [line for name, line in wait.dependencies.items() if "mapped" in name.lower()]
    if not words or any(state not in _ENDED for state in wait.upstream.values()):
        return None
    return Reason(
        Kind.LIMIT,
        "The task is mapped, and has not been expanded: what it is mapped over has not been returned.",
        "Check the tasks that return what it is mapped over.",
        tuple(words),
    )


def _airflow_reports(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain in Airflow's words a dependency for which there is no function, such as a logical date out of range."""
    words = [f"{name}: {line}" for name, line in wait.dependencies.items() if name in _IN_AIRFLOWS_WORDS]
    if wait.state or not words:
        return None
    action = "Read the evidence: it has Airflow's own words."
    return Reason(Kind.LIMIT, "Airflow does not schedule the task yet.", action, tuple(words[:3]))


def _nothing_is_scheduled(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain a run that is running while none of its tasks is; only what Airflow says of the task tells why."""
    if wait.state or wait.run_state != "running" or wait.dependencies or wait.upstream or wait.depends_on_past:
        return None
    if wait.paused or wait.stale:
        return None
    return Reason(
        Kind.LIMIT,
        "Its run is running, and Airflow schedules no task of it.",
        f'Run the notebook again with task="{wait.name}": it then asks Airflow for what the task depends on.',
    )


def has_ended(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain that a task does not wait: it has ended."""
    if wait.state not in ("success", "failed", "removed"):
        return None
    ends = {
        "success": ("The task has succeeded.", "Clear it in Airflow's web pages to run it again."),
        "failed": ("The task failed.", "Read its log; fix the cause, then clear it in Airflow's web pages."),
        "removed": (
            "The task is no longer in its DAG: it was removed from the file after the run began.",
            "Restore the task in the DAG's file, or leave it.",
        ),
    }
    return Reason(Kind.PLAN, *ends[wait.state])


def _has_no_instance(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain that `DagRun.verify_integrity` creates no instance of a task for a run outside of the task's dates."""
    if wait.state != "absent":
        return None
    dates = (("start_date", wait.schedule.start), ("end_date", wait.schedule.end))
    return Reason(
        Kind.PLAN,
        "The run has no instance of the task: its logical date is outside of the task's dates, or the task is newer.",
        "Correct the task's dates in the DAG's file, or begin a new run.",
        tuple(f"the task's {name} is {date}" for name, date in dates if date),
    )


def is_running(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain that a task does not wait: it runs."""
    if wait.state != "running":
        return None
    return Reason(Kind.PLAN, f"The task runs, for {duration(wait.seconds)}.", "Read its log if that is too long.")


BEFORE_THE_QUEUE = (
    has_ended,
    _has_no_instance,
    is_running,
    scheduler_is_silent,
    cannot_be_imported,
    is_stale,
    is_paused,
    _run_is_not_running,
    _depends_on_past,
    _waits_for_upstream,
    _upstream_did_not_satisfy,
    _is_not_mapped,
    _airflow_reports,
    _nothing_is_scheduled,
    *OF_SCHEDULED_TASKS,
)
