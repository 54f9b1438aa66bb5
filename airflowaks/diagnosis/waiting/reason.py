"""Reasons: what holds a DAG, a run or a task, by whom, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.diagnosis import remedies
from airflowaks.diagnosis.facts.waiting import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.diagnosis.facts.waiting import Wait
    from airflowaks.engine.changes import Changes
    from airflowaks.session import Session

_SILENT_SECONDS = 30.0
"""`[scheduler] scheduler_health_check_threshold` and the triggerer's and dag-processor's; each beats every 5 s."""
_SLOW_SECONDS = 60.0
_TO_BE_DECIDED = ("", "up_for_retry", "up_for_reschedule")
"""States of tasks whose runs `DagRun.get_running_dag_runs_to_examine` picks: of DAGs neither paused nor stale."""
_FOR_THE_SCHEDULER = ("scheduled", *_TO_BE_DECIDED)
"""And those that `_executable_task_instances_to_queued` picks: of DAGs that are not paused. Beyond, nobody looks."""


class Kind(StrEnum):
    """What a reason is about: a platform that fails, a limit, a broken file, somebody's choice, or a plan."""

    PLATFORM = "platform"
    LIMIT = "limit"
    FILE = "file"
    CHOICE = "choice"
    PLAN = "plan"


@dataclass(frozen=True)
class Reason:
    """One reason: the sentence, what to do, by whom (each a line), and the DAG, run and task that hold it.

    `remedy` does it automatically.
    """

    kind: Kind
    holds: str
    action: str
    by: tuple[str, ...] = ()
    held_by: tuple[str, str, str] | None = None
    remedy: Callable[[Session], Changes] | None = field(default=None, compare=False, repr=False)


Explain = Callable[["Wait", "Snapshot"], "Reason | None"]


def first_to_last(explains: Iterable[Explain], wait: Wait, facts: Snapshot) -> tuple[Reason, ...]:
    """Return all reasons that hold, in the order of `explains`."""
    return tuple(reason for explain in explains if (reason := explain(wait, facts)) is not None)


def beats(facts: Snapshot, job: str) -> bool:
    """Tell whether a component of a type of job has sent a heartbeat lately; also if heartbeats were not read."""
    heartbeats = facts.airflow.waiting.heartbeats
    return not heartbeats or heartbeats.get(job, _SILENT_SECONDS + 1) <= _SILENT_SECONDS


def silence(facts: Snapshot, job: str) -> str:
    """Return since when no component of a type of job has sent a heartbeat."""
    seconds = facts.airflow.waiting.heartbeats.get(job)
    return (
        "it sent no heartbeat in the last day" if seconds is None else f"its last heartbeat was {duration(seconds)} ago"
    )


def scheduler_is_silent(_wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain that no scheduler loops: it beats in each turn of its loop (`_run_scheduler_loop`)."""
    if beats(facts, "SchedulerJob"):
        return None
    return Reason(
        Kind.PLATFORM,
        "No scheduler is looping, so nothing is scheduled.",
        "Check the scheduler's pod above; restart the component if it runs and is silent.",
        (silence(facts, "SchedulerJob"),),
    )


def scheduler_is_slow(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain that the scheduler has not come back to a run for long; it takes the longest unseen runs first.

    It examines `max_dagruns_per_loop_to_schedule` (20) runs in a turn: `DagRun.get_running_dag_runs_to_examine`.
    """
    slow = (wait.decided or 0.0) >= _SLOW_SECONDS and wait.run_state == "running" and wait.state in _FOR_THE_SCHEDULER
    if not slow or not beats(facts, "SchedulerJob") or wait.paused or wait.stale:
        return None
    return Reason(
        Kind.PLATFORM,
        "The scheduler is too slow: it takes more than a minute to come back to a run.",
        "Raise `airflow.scheduler.replicas` or its `cpu`, and run step 7.",
        (f"it looked at {wait.name} {duration(wait.decided or 0.0)} ago",),
    )


def is_paused(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain that the DAG is paused: its runs are neither created, started nor continued."""
    if not wait.paused or wait.state not in _FOR_THE_SCHEDULER:
        return None
    return Reason(
        Kind.CHOICE,
        f"DAG {wait.dag} is paused.",
        f"Unpause it in Airflow's web pages, or with `airflow dags unpause {wait.dag}`, if it should run.",
        remedy=partial(remedies.unpause, dag=wait.dag),
    )


def is_stale(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain that the DAG is stale: `DagFileProcessorManager.deactivate_stale_dags`, `deactivate_deleted_dags`."""
    if not wait.stale or wait.state not in _TO_BE_DECIDED or cannot_be_imported(wait, facts):
        return None
    parsed = f", parsed {duration(wait.parsed)} ago for the last time" if wait.parsed is not None else ""
    return Reason(
        Kind.LIMIT,
        f"DAG {wait.dag} is stale: its file was removed, or does not define the DAG any more.",
        "Restore the DAG's file and run step 6. Deleting the DAG in Airflow's web pages deletes all of its runs.",
        (f"file {_short(wait.file)}{parsed}",),
    )


def cannot_be_imported(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain that the DAG's file has an import error, which makes the DAG stale at once: `_update_import_errors`.

    A file whose reading is killed or ends itself leaves no error; `deactivate_stale_dags` takes its DAGs soon after.
    """
    if wait.state not in _TO_BE_DECIDED:
        return None
    told = {**(facts.airflow.parsing.unread if wait.stale else {}), **facts.airflow.import_errors}
    errors = [error for file, error in told.items() if f"/{wait.file}".endswith(f"/{file}")]
    if not errors:
        return None
    return Reason(
        Kind.FILE,
        f"The file of DAG {wait.dag} cannot be imported, so Airflow does not schedule it.",
        "Correct the file and run step 6, which copies it to the share.",
        (errors[0],),
    )


def max_active_runs(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain that as many runs are active as the DAG, or the backfill, may have."""
    if not wait.max_active_runs or len(wait.running_runs) < wait.max_active_runs:
        return None
    oldest = wait.running_runs[0]
    return Reason(
        Kind.LIMIT,
        f"DAG {wait.dag} may have {wait.max_active_runs} active run{'s' if wait.max_active_runs > 1 else ''}"
        f" (max_active_runs), and has {len(wait.running_runs)}.",
        "Wait until one ends, mark a run that hangs as failed, or raise max_active_runs in the DAG's file.",
        tuple(f"run {run} is active" for run in wait.running_runs[:3]),
        (wait.dag, oldest, ""),
    )


def _short(file: str) -> str:
    """Return a path in Airflow's folder of DAGs."""
    return file.rpartition("/dags/")[2] or file
