"""Why a DAG has no run, and why a run is not started, in the order in which Airflow 3 decides.

Sources: `DagModel.dags_needing_dagruns` (`airflow/models/dag.py`), `DagRun.get_queued_dag_runs_to_set_running`
(`airflow/models/dagrun.py`), `SchedulerJobRunner._create_dag_runs` and `_start_queued_dagruns`
(`airflow/jobs/scheduler_job_runner.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.facts.waiting import duration
from airflowaks.diagnosis.waiting.reason import (
    Kind,
    Reason,
    beats,
    cannot_be_imported,
    is_paused,
    is_stale,
    max_active_runs,
    scheduler_is_silent,
    scheduler_is_slow,
    silence,
)
from airflowaks.engine.times import seconds_since

if TYPE_CHECKING:
    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.diagnosis.facts.waiting import Wait

_ENDED = ("success", "failed")


def _is_unknown(wait: Wait, facts: Snapshot) -> Reason | None:
    if wait.known:
        return None
    errors = [f"{file}: {error}" for file, error in facts.airflow.import_errors.items()]
    near = f"Did you mean {' or '.join(wait.near)}? " if wait.near else ""
    return Reason(
        Kind.FILE,
        f"Airflow knows no DAG {wait.dag}: no file that it has parsed defines it.",
        f"{near}A new file is parsed within a minute after step 6; one with an import error not until it is corrected.",
        (*(f"cannot be imported: {error}" for error in errors[:3]),),
    )


def _is_not_parsed(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain that no dag-processor runs: new and changed files are not seen, older DAGs go on as they are."""
    if (wait.known and wait.parsed is None) or beats(facts, "DagProcessorJob"):
        return None
    return Reason(
        Kind.PLATFORM,
        "No dag-processor is looping, so no DAG's file is parsed.",
        "Check the dag-processor's pod above; restart the component if it runs and is silent.",
        (silence(facts, "DagProcessorJob"),),
    )


def _is_not_due(wait: Wait, _facts: Snapshot) -> Reason | None:
    due = wait.schedule.due_in
    if due is None or due <= 0:
        return None
    start, skips = wait.schedule.start, " Intervals before the newest are skipped: catchup is off."
    begins = f", because its start_date is {start}" if start and seconds_since(start) < 0 else ""
    return Reason(
        Kind.PLAN,
        f"The next run of DAG {wait.dag} is due in {duration(due)}{begins}.",
        "Wait, or trigger a run by hand." + ("" if wait.schedule.catchup or begins else skips),
        (f"schedule: {wait.schedule.summary}",),
    )


def _has_ended(wait: Wait, _facts: Snapshot) -> Reason | None:
    end = wait.schedule.end
    if not end or seconds_since(end) < 0 or wait.schedule.due_in is not None:
        return None
    return Reason(
        Kind.PLAN,
        f"DAG {wait.dag} has no more scheduled runs: its end_date was {end}.",
        "Move end_date in the DAG's file, or trigger a run by hand.",
    )


def _waits_for_assets(wait: Wait, _facts: Snapshot) -> Reason | None:
    if not wait.schedule.missing:
        return None
    return Reason(
        Kind.PLAN,
        f"DAG {wait.dag} runs when its assets are updated, and some have not been updated since its last run.",
        "Check the DAGs that update these assets, or create an event of the asset in Airflow's web pages.",
        tuple(f"no update yet: {asset}" for asset in wait.schedule.missing[:3]),
    )


def _has_no_schedule(wait: Wait, _facts: Snapshot) -> Reason | None:
    if wait.schedule.summary or not wait.known:
        return None
    return Reason(
        Kind.PLAN,
        f"DAG {wait.dag} has no schedule: it runs only when it is triggered.",
        "Trigger it, or set `schedule` in the DAG's file.",
    )


def _may_not_be_scheduled(wait: Wait, _facts: Snapshot) -> Reason | None:
    types = wait.schedule.run_types
    if not types or not wait.schedule.summary or {"scheduled", "asset_triggered"} & set(types):
        return None
    return Reason(
        Kind.CHOICE,
        f"DAG {wait.dag} allows no scheduled runs: allowed_run_types is {', '.join(types)}.",
        "Add `scheduled` to allowed_run_types in the DAG's file.",
    )


def _run_is_overdue(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain what nothing else does: the next run is due, and the scheduler has not created it."""
    if wait.run or wait.paused or wait.stale or wait.seconds <= 0 or not wait.known:
        return None
    held = cannot_be_imported(wait, facts) or _may_not_be_scheduled(wait, facts) or max_active_runs(wait, facts)
    if held or not beats(facts, "SchedulerJob"):
        return None
    return Reason(
        Kind.PLATFORM,
        f"The next run of DAG {wait.dag} has been due for {duration(wait.seconds)}; the scheduler has not created it.",
        "Search the scheduler's log for `Failed creating DagRun` and for the DAG's name.",
    )


def _run_has_ended(wait: Wait, _facts: Snapshot) -> Reason | None:
    if wait.run_state not in _ENDED:
        return None
    return Reason(
        Kind.PLAN, f"The run has ended: {wait.run_state}.", "Clear its tasks in Airflow's web pages to run them again."
    )


def _run_is_for_later(wait: Wait, _facts: Snapshot) -> Reason | None:
    if wait.run_due >= 0:
        return None
    return Reason(Kind.PLAN, f"The run is due in {duration(-wait.run_due)} (run_after).", "Wait.")


def _backfill_is_paused(wait: Wait, _facts: Snapshot) -> Reason | None:
    if not wait.backfill_paused:
        return None
    return Reason(Kind.CHOICE, "The run's backfill is paused.", "Unpause the backfill in Airflow's web pages.")


def _at_max_active_runs(wait: Wait, facts: Snapshot) -> Reason | None:
    creates = bool(wait.schedule.summary) or wait.seconds > 0  # the next run of a DAG that has a schedule
    waits = wait.run_state == "queued" if wait.run else creates
    return max_active_runs(wait, facts) if waits else None


def _is_queued_for_long(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain what nothing else does: the run may start, and the scheduler has not come to it."""
    free = wait.run_state == "queued" and not (wait.paused or wait.stale or wait.backfill_paused or wait.run_due < 0)
    if not free or max_active_runs(wait, facts) or not beats(facts, "SchedulerJob"):
        return None
    return Reason(
        Kind.PLATFORM,
        "The run may start; the scheduler has not come to it yet.",
        "Wait a minute; if it stays, search the scheduler's log for the DAG's name.",
    )


DAG = (
    _is_unknown,
    _is_not_parsed,
    scheduler_is_silent,
    cannot_be_imported,
    is_stale,
    is_paused,
    _has_no_schedule,
    _waits_for_assets,
    _has_ended,
    _is_not_due,
    _may_not_be_scheduled,
    _at_max_active_runs,
    _run_is_overdue,
)
RUN = (
    _run_has_ended,
    scheduler_is_silent,
    cannot_be_imported,
    is_stale,
    is_paused,
    _backfill_is_paused,
    _run_is_for_later,
    _at_max_active_runs,
    scheduler_is_slow,
    _is_queued_for_long,
)
