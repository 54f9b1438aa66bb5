"""Why a task that was queued, deferred or is to be repeated does not run: queues, workers, triggerers, delays.

Sources: `airflow/providers/celery/executors/celery_executor.py`, `_handle_tasks_stuck_in_queued` and
`adopt_or_reset_orphaned_tasks` of `airflow/jobs/scheduler_job_runner.py`, `Trigger.assign_unassigned`
(`airflow/models/trigger.py`), `NotInRetryPeriodDep` and `ReadyToRescheduleDep` (`airflow/ti_deps/deps`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.config.airflow_schema import DEFAULT_QUEUE, WORKER
from airflowaks.diagnosis.facts.waiting import Slots, duration
from airflowaks.diagnosis.waiting.limits import holders
from airflowaks.diagnosis.waiting.reason import Kind, Reason, beats, silence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.diagnosis.facts.waiting import Wait

_REASSIGNED_SECONDS = 60.0
_LOST_SECONDS = 60.0
_CONCURRENCY = 16  # Celery's default
_DEADLINE = " Airflow queues a task again after ten minutes in the queue (task_queued_timeout), twice, then fails it."


def _no_worker_is_ready(wait: Wait, facts: Snapshot) -> Reason | None:
    component = _component(wait, facts)
    pods = [name for name, pod in facts.kubernetes.pods.items() if pod.component == component]
    if wait.state != "queued" or not facts.kubernetes.pods or _ready(facts, component):
        return None
    of = "" if component == WORKER else f" of the queue {wait.queue}"
    return Reason(
        Kind.PLATFORM,
        f"No worker{of} is ready.",
        "Check the worker's pods above; KEDA starts the first one within a minute of the first queued task."
        f"{_scaler_of(wait, facts)}{_DEADLINE}",
        tuple(f"pod {name} is not ready" for name in pods[:3]) or (f"there is no pod of the {component}",),
    )


def _no_worker_consumes_the_queue(wait: Wait, facts: Snapshot) -> Reason | None:
    queues = facts.airflow.queues
    if wait.state != "queued" or not queues or _consumers(wait, facts):
        return None
    consumed = sorted({queue for names in queues.values() for queue in names})
    return Reason(
        Kind.PLATFORM,
        f"No worker consumes the queue {wait.queue}.",
        f"Set the task's queue to one that workers consume, or name {wait.queue} in `airflow.queues` and run step 7.",
        (f"the workers consume: {', '.join(consumed) or 'no queue'}",),
    )


def _slots_are_taken(wait: Wait, facts: Snapshot) -> Reason | None:
    consumers = _consumers(wait, facts)
    if wait.state != "queued" or not consumers:
        return None
    slots, settings = _slots(wait, facts), "workers" if wait.queue == DEFAULT_QUEUE else f"queues.{wait.queue}"
    if slots.taken < slots.total:
        return None
    poking = sum(holder.count for holder in slots.holders if holder.pokes)
    advice = "use deferrable sensors or mode='reschedule', or " if poking else ""
    more = f"{advice}raise `airflow.{settings}.max_count` or `concurrency` and run step 7."
    growing = _scaler_of(wait, facts)
    return Reason(
        Kind.PLATFORM,
        f"All worker slots are taken: {slots.taken} of {slots.total}{', by sensors in poke mode' if poking else ''}.",
        f"{f'Wait for more workers.{growing} Or ' if growing else 'Wait for those tasks, '}{more}{_DEADLINE}",
        holders(slots),
    )


def _its_scheduler_has_ended(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain that the scheduler which queued the task is gone; another one adopts it within five minutes."""
    silent = wait.queued_by is not None and wait.queued_by > _LOST_SECONDS
    if wait.state != "queued" or not silent or not beats(facts, "SchedulerJob"):
        return None
    return Reason(
        Kind.PLATFORM,
        "The scheduler that queued the task has ended.",
        "Wait up to five minutes (orphaned_tasks_check_interval), until another scheduler adopts the task.",
        (f"its last heartbeat was {duration(wait.queued_by or 0.0)} ago",),
    )


def _executor_lost_it(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain what nothing else does: a worker has a free slot and consumes the queue, and does not get the task."""
    consumers = _consumers(wait, facts)
    if wait.state != "queued" or not consumers or wait.seconds < _LOST_SECONDS or _slots_are_taken(wait, facts):
        return None
    if not beats(facts, "SchedulerJob") or _its_scheduler_has_ended(wait, facts):
        return None
    requeued = (f"queued again {wait.requeued} time{'s' * (wait.requeued > 1)}",) if wait.requeued else ()
    return Reason(
        Kind.PLATFORM,
        "The executor lost the task: workers have free slots and consume its queue, and do not get it.",
        f"Check the broker. To begin sooner, clear the task in Airflow's web pages.{_DEADLINE}",
        (f"queued for {duration(wait.seconds)}", *requeued),
    )


def _no_triggerer_runs(wait: Wait, facts: Snapshot) -> Reason | None:
    if wait.state != "deferred" or beats(facts, "TriggererJob"):
        return None
    return Reason(
        Kind.PLATFORM,
        "The task is deferred, and no triggerer is looping.",
        "Check the triggerer's pod above; restart the component if it runs and is silent.",
        (silence(facts, "TriggererJob"),),
    )


def _trigger_is_not_running(wait: Wait, facts: Snapshot) -> Reason | None:
    """Explain that the trigger belongs to no triggerer, or to one that is gone; others take it over."""
    runs = wait.triggerer is not None and wait.triggerer <= _REASSIGNED_SECONDS
    if wait.state != "deferred" or runs or wait.seconds < _REASSIGNED_SECONDS or not beats(facts, "TriggererJob"):
        return None
    return Reason(
        Kind.PLATFORM,
        "The task is deferred, and no triggerer runs its trigger.",
        "Check the triggerer's log; raise `airflow.triggerer.replicas` if it has as many triggers as it may have.",
        (f"trigger {wait.trigger}",),
    )


def _waits_for_its_trigger(wait: Wait, facts: Snapshot) -> Reason | None:
    if wait.state != "deferred" or _no_triggerer_runs(wait, facts) or _trigger_is_not_running(wait, facts):
        return None
    return Reason(
        Kind.PLAN,
        f"The task is deferred for {duration(wait.seconds)}: its trigger runs, and has not fired.",
        "Check what the trigger waits for.",
        (f"trigger {wait.trigger}",),
    )


def _waits_for_its_retry(wait: Wait, _facts: Snapshot) -> Reason | None:
    if wait.state != "up_for_retry":
        return None
    left = wait.retry_in or 0.0
    when = f"in {duration(left)}, later with exponential backoff" if left > 0 else "now"
    return Reason(
        Kind.PLAN,
        f"The task failed and is to be repeated {when}: attempt {wait.attempt} of {wait.attempts} failed.",
        "Read the log of that attempt; clear the task to repeat it at once.",
    )


def _waits_for_its_next_poke(wait: Wait, _facts: Snapshot) -> Reason | None:
    if wait.state != "up_for_reschedule":
        return None
    left = wait.reschedule_in or 0.0
    return Reason(
        Kind.PLAN,
        f"The sensor looks again {f'in {duration(left)}' if left > 0 else 'now'} (mode reschedule).",
        "Check what the sensor waits for.",
    )


def _waits_for_a_person(wait: Wait, _facts: Snapshot) -> Reason | None:
    if wait.state != "awaiting_input":
        return None
    return Reason(Kind.PLAN, "The task waits for the answer of a person.", "Answer it in Airflow's web pages.")


def _component(wait: Wait, facts: Snapshot) -> str:
    """Return the component of the workers that are to run a task: its queue's own, or those of the default queue."""
    own = f"{WORKER}-{wait.queue}"
    return own if own in facts.kubernetes.workers else WORKER


def _scaler_of(wait: Wait, facts: Snapshot) -> str:
    """Return where to look if KEDA does not add workers, as long as there are fewer than there may be."""
    component = _component(wait, facts)
    scaled = facts.kubernetes.scaled(f"airflow-{component}")
    if scaled is None or _ready(facts, component) >= scaled.spec.get("maxReplicaCount", 100):
        return ""
    return f" If there are none within minutes, see `kubectl describe scaledobject {scaled.name}`."


def _ready(facts: Snapshot, component: str) -> int:
    pods = facts.kubernetes.pods.values()
    return sum(pod.component == component and pod.healthy and pod.phase == "Running" for pod in pods)


def _consumers(wait: Wait, facts: Snapshot) -> list[Sequence[str]]:
    return [names for names in facts.airflow.queues.values() if wait.queue in names]


def _slots(wait: Wait, facts: Snapshot) -> Slots:
    """Return the slots of the workers that consume a queue; those that were not asked count as those that were."""
    waiting, pods, consumers = facts.airflow.waiting, facts.kubernetes.pods, _consumers(wait, facts)
    component, own = _component(wait, facts), [pods[name].component for name in facts.airflow.queues if name in pods]
    asked = own.count(component) or len(facts.airflow.queues)
    workers = len(consumers) * max(_ready(facts, component), asked) // asked
    queues = [waiting.queues[name] for name in {name for names in consumers for name in names} & set(waiting.queues)]
    longest = sorted((holder for queue in queues for holder in queue.holders), key=lambda holder: -holder.count)
    concurrency = waiting.concurrency.get(wait.queue, _CONCURRENCY)
    return Slots(workers * concurrency, sum(queue.taken for queue in queues), tuple(longest[:3]))


AFTER_THE_QUEUE = (
    _no_worker_is_ready,
    _no_worker_consumes_the_queue,
    _slots_are_taken,
    _its_scheduler_has_ended,
    _executor_lost_it,
    _no_triggerer_runs,
    _trigger_is_not_running,
    _waits_for_its_trigger,
    _waits_for_its_retry,
    _waits_for_its_next_poke,
    _waits_for_a_person,
)
