"""Facts from Airflow: health, queues and tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FailedTask:
    """A failed task: DAG, task, time (ISO 8601) and the end of its log."""

    dag: str
    task: str
    at: str
    log: str = ""


@dataclass(frozen=True)
class Airflow:
    """Health by component, queues by worker pod (empty if the worker named none), and tasks.

    `queued_seconds` is the age of the oldest queued task. Import errors are by file.
    """

    health: Mapping[str, str] = field(default_factory=dict)
    queues: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    queued: int = 0
    queued_seconds: float = 0.0
    failed: tuple[FailedTask, ...] = ()
    import_errors: Mapping[str, str] = field(default_factory=dict)
