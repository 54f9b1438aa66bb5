"""Facts about what waits in Airflow: task instances, runs and DAGs, and the slots that they wait for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def duration(seconds: float) -> str:
    """Return a length of time in words: `40 s`, `12 min`, `3 h`, `2 d`."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit or (unit == _MINUTE and seconds >= unit):
            return f"{seconds // unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


@dataclass(frozen=True)
class Holder:
    """Running, queued or deferred instances of one task, which take slots; `seconds` is for how long the first has."""

    dag: str
    task: str
    count: int = 1
    seconds: float = 0.0
    sensor: bool = False  # and not in the mode reschedule

    def __str__(self) -> str:
        times = f" ({self.count} times)" if self.count > 1 else ""
        return f"{self.dag}/{self.task}{times}, for {duration(self.seconds)}"

    @property
    def pokes(self) -> bool:
        """Tell whether it is a sensor in poke mode: a deferrable one leaves its slot within seconds."""
        return self.sensor and self.seconds > _MINUTE


@dataclass(frozen=True)
class Slots:
    """The slots of a pool or of a queue's workers: all (-1: no limit), taken, and who takes most of them."""

    total: int = 0
    taken: int = 0
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True)
class Schedule:
    """When a DAG's runs begin: `summary` is empty without a schedule, `missing` are assets that were not updated yet.

    `due_in` is the time until the next run in seconds, None if there will be none. `start` and `end` are ISO 8601.
    """

    summary: str = ""
    due_in: float | None = None
    start: str = ""
    end: str = ""
    catchup: bool = False
    missing: tuple[str, ...] = ()
    run_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wait:
    """Instances of a task that wait for the same, or a run (no `task`), or a DAG's next run (no `run`).

    `run`, `task` and `map_index` name the one that waits longest, for `seconds`; `usual` is how long tasks of the DAG
    usually wait. `state` is the task's, empty before it is scheduled. Ages are in seconds, None if there is none.
    """

    dag: str
    run: str = ""
    task: str = ""
    map_index: int = -1
    count: int = 1
    seconds: float = 0.0
    usual: float = 0.0
    # The DAG: `near` are the names most like that of an unknown one
    known: bool = True
    near: tuple[str, ...] = ()
    parsed: float | None = None  # seconds since its file was parsed
    schedule: Schedule = field(default_factory=Schedule)
    paused: bool = False
    stale: bool = False
    file: str = ""
    max_active_tasks: int = 16
    max_active_runs: int = 16
    # The run
    run_state: str = "running"
    run_due: float = 0.0  # seconds since its `run_after`; negative before
    decided: float | None = None  # seconds since a scheduler looked at the run last
    running_runs: tuple[str, ...] = ()  # those that count towards the same limit, the oldest first
    backfill_paused: bool = False
    active: int = 0  # queued and running tasks of the run
    # The task
    state: str = ""
    pool: str = "default_pool"
    pool_slots: int = 1
    queue: str = "default"
    attempt: int = 0
    attempts: int = 1
    retry_in: float | None = None
    reschedule_in: float | None = None
    per_dag: int | None = None  # max_active_tis_per_dag, and how many of the task's instances count towards it
    per_dag_active: int = 0
    per_run: int | None = None
    per_run_active: int = 0
    trigger: str = ""
    triggerer: float | None = None  # age of the heartbeat of the triggerer that has the trigger
    queued_by: float | None = None  # age of the heartbeat of the scheduler that queued it
    requeued: int = 0
    # What Airflow itself says of a task that is not scheduled yet, by dependency; the states of its upstream tasks
    dependencies: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""
    depends_on_past: bool = False
    upstream: Mapping[str, str] = field(default_factory=dict)
    previous_run: str = ""

    @property
    def name(self) -> str:
        """Return DAG/RUN/TASK, as the parameter `task` takes it."""
        return "/".join(filter(None, (self.dag, self.run, self.task)))


@dataclass(frozen=True)
class Waiting:
    """All that has waited longer than usual, and what it may wait for; `heartbeats` are ages by type of job.

    `hosts` are the ages of the last heartbeat by host name, which is a pod's address.
    `longest` is the task that has run longest; the broker repeats a message after `visibility_seconds`. `concurrency`
    is how many tasks a worker runs at the same time, by queue.
    """

    waits: tuple[Wait, ...] = ()
    pools: Mapping[str, Slots] = field(default_factory=lambda: {"default_pool": Slots(128)})
    queues: Mapping[str, Slots] = field(default_factory=dict)
    heartbeats: Mapping[str, float] = field(default_factory=dict)
    hosts: Mapping[str, float] = field(default_factory=dict)
    schedulers: int = 1
    active: int = 0
    longest: Holder | None = None
    parallelism: int = 32
    concurrency: Mapping[str, int] = field(default_factory=dict)
    visibility_seconds: float = 86_400.0
