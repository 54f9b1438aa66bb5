"""What keeps a scheduled task from being queued: Airflow's pools and limits, in the order in which it applies them.

Source: `_executable_task_instances_to_queued` of `airflow/jobs/scheduler_job_runner.py`.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.diagnosis import remedies
from airflowaks.diagnosis.facts.snapshot import Reading
from airflowaks.diagnosis.waiting.reason import Kind, Reason, beats, scheduler_is_slow
from airflowaks.engine.times import parse_time

if TYPE_CHECKING:
    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.diagnosis.facts.waiting import Slots, Wait

_A_MOMENT = timedelta(minutes=1)
_NO_SLOTS = "Executor parallelism limit reached"


def _pool_is_missing(wait: Wait, facts: Snapshot) -> Reason | None:
    if wait.state != "scheduled" or wait.pool in facts.airflow.waiting.pools:
        return None
    return Reason(
        Kind.LIMIT,
        f"There is no pool {wait.pool}: Airflow never queues a task of a pool that does not exist.",
        f"Create it under Admin, Pools, or with `airflow pools set {wait.pool} SLOTS DESCRIPTION`.",
    )


def _pool_is_full(wait: Wait, facts: Snapshot) -> Reason | None:
    pool = facts.airflow.waiting.pools.get(wait.pool)
    if wait.state != "scheduled" or pool is None or pool.total == -1:
        return None
    if wait.pool_slots > pool.total:
        return Reason(
            Kind.LIMIT,
            f"The task needs {wait.pool_slots} slots of the pool {wait.pool}, which has {pool.total}.",
            f"Raise the slots of the pool {wait.pool} under Admin, Pools, or lower pool_slots in the DAG's file.",
            remedy=partial(remedies.raise_pool, pool=wait.pool, slots=wait.pool_slots),
        )
    if pool.taken + wait.pool_slots <= pool.total:
        return None
    return Reason(
        Kind.LIMIT,
        f"The pool {wait.pool} is full: {pool.taken} of {pool.total} slots are taken."
        if pool.taken >= pool.total
        else f"The pool {wait.pool} has {pool.total - pool.taken} free slots; the task needs {wait.pool_slots}.",
        f"Wait for those tasks, end them, or raise the slots of the pool {wait.pool} under Admin, Pools.",
        holders(pool),
        remedy=partial(remedies.raise_pool, pool=wait.pool, slots=2 * pool.total),
    )


def _max_active_tasks(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain max_active_tasks, which Airflow 3 counts for each run, not for the DAG."""
    if wait.state != "scheduled" or wait.active < wait.max_active_tasks:
        return None
    return Reason(
        Kind.LIMIT,
        f"A run of DAG {wait.dag} may have {wait.max_active_tasks} active task{'s' * (wait.max_active_tasks > 1)}"
        f" (max_active_tasks), and has {wait.active}.",
        "Wait for them, or raise max_active_tasks in the DAG's file.",
    )


def _max_active_instances(wait: Wait, _facts: Snapshot) -> Reason | None:
    """Explain max_active_tis_per_dag and max_active_tis_per_dagrun, which limit mapped tasks too."""
    for name, limit, active in (
        ("max_active_tis_per_dag", wait.per_dag, wait.per_dag_active),
        ("max_active_tis_per_dagrun", wait.per_run, wait.per_run_active),
    ):
        if wait.state == "scheduled" and limit is not None and active >= limit:
            return Reason(
                Kind.LIMIT,
                f"Of task {wait.task} of DAG {wait.dag} at most {limit} may be active ({name}), and {active} are.",
                f"Wait for them, or raise {name} in the DAG's file.",
            )
    return None


def _parallelism(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain `[core] parallelism`, the most tasks that each scheduler's executors have queued and running."""
    waiting = facts.airflow.waiting
    most = waiting.parallelism * max(waiting.schedulers, 1)
    if wait.state != "scheduled" or waiting.active < most:
        return None
    return Reason(
        Kind.PLATFORM,
        f"The executor has as many tasks as it may have: {waiting.active} of {most} (parallelism of each scheduler).",
        "Wait for them, or raise AIRFLOW__CORE__PARALLELISM in manifests/07_airflow/configuration.yaml and run step 7.",
        tuple(line for slots in waiting.queues.values() for line in holders(slots))[:3],
    )


def _may_be_queued(wait: Wait, facts: Snapshot) -> bool:
    """Tell whether no limit holds a scheduled task."""
    if wait.state != "scheduled" or wait.paused or wait.run_state != "running":
        return False
    return beats(facts, "SchedulerJob") and not any(limit(wait, facts) for limit in _LIMITS)


def _executor_keeps_slots(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain an executor that counts tasks which are gone, such as those whose runs were deleted.

    `BaseExecutor` counts in memory what it has sent, and says so each second without an open slot (`_emit_metrics` in
    `airflow/executors/base_executor.py`); `CeleryExecutor` forgets a task when its result comes, which may be never.
    """
    now = facts.readings.get("kubernetes.logs", Reading()).at
    lines = [
        line
        for line in facts.log_lines
        if line.component == "scheduler" and _NO_SLOTS in line.text and line.at and now
        if parse_time(now) - parse_time(line.at) < _A_MOMENT
    ]
    if not lines or not _may_be_queued(wait, facts):
        return None
    waiting = facts.airflow.waiting
    return Reason(
        Kind.PLATFORM,
        f"The scheduler's executor has no open slot, and {waiting.active} tasks are queued or running: it keeps the"
        " slots of tasks that are gone.",
        "Restart the scheduler: a new executor counts again.",
        (str(lines[-1].excerpt((_NO_SLOTS,))),),
    )


def _is_scheduled_for_long(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain what nothing else does: the task may be queued, and the scheduler has not come to it."""
    if not _may_be_queued(wait, facts) or _executor_keeps_slots(wait, facts):
        return None
    return Reason(
        Kind.PLATFORM,
        "The task may be queued; the scheduler has not come to it yet.",
        "Wait a minute; if it stays, search the scheduler's log for the task.",
    )


def holders(slots: Slots) -> tuple[str, ...]:
    """Return who takes slots, each a line; a sensor in poke mode is named as such."""
    poking = " (a sensor in poke mode keeps its slot while it waits)"
    return tuple(f"taken by {holder}{poking if holder.pokes else ''}" for holder in slots.holders)


# Without an open slot of its executor the scheduler asks for no task (`_critical_section_enqueue_task_instances`). It
# asks only for those within max_active_tasks, and decides the rest for each task that it got.
_LIMITS = (_parallelism, _max_active_tasks, _pool_is_missing, _pool_is_full, _max_active_instances)
OF_SCHEDULED_TASKS = (
    *_LIMITS,
    scheduler_is_slow,
    _executor_keeps_slots,
    _is_scheduled_for_long,
)
