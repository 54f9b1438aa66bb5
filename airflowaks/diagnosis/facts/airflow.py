"""What Airflow says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FailedTask:
    """A task that failed: DAG, task, when (ISO 8601), and the end of what it logged."""

    dag: str
    task: str
    at: str
    log: str = ""


@dataclass(frozen=True)
class Airflow:
    """Health by component, queues by worker pod (None: it did not answer), and how tasks fare.

    `queued_seconds` is how long the oldest queued task has been waiting. Import errors are by file.
    """

    health: Mapping[str, str] = field(default_factory=dict)
    queues: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    queued: int = 0
    queued_seconds: float = 0.0
    failed: tuple[FailedTask, ...] = ()
    import_errors: Mapping[str, str] = field(default_factory=dict)
