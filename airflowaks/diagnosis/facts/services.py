"""Facts from the services: Azure and Entra, Airflow, and its database and broker, read with Airflow's secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflowaks.diagnosis.facts.resource_status import ResourceStatus
from airflowaks.diagnosis.facts.waiting import Waiting


@dataclass(frozen=True)
class Operation:
    """A failed write that no successful one has followed; `at` is ISO 8601."""

    at: str
    name: str
    resource: str
    message: str


@dataclass(frozen=True)
class Quota:
    """The usage and limit of a regional quota, such as the cores of a VM family."""

    used: int
    limit: int


@dataclass(frozen=True)
class Azure:
    """The resources of steps 1 to 5 by step and attribute (`registry.pull_access`), quotas and failed operations."""

    resources: Mapping[str, ResourceStatus] = field(default_factory=dict)
    power: str = ""
    vault_deleted: bool = False
    registry_mode: str = ""
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()

    def deviations(self, kind: str) -> list[str]:
        """Return a line for each resource of a kind that does not exist, and for each difference of the others."""
        statuses = [status for status in self.resources.values() if status.kind == kind]
        absent = [f"{status.title} does not exist" for status in statuses if status.missing]
        return absent + [f"{status.title}: {difference}" for status in statuses for difference in status.differences]


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
    waiting: Waiting = field(default_factory=Waiting)


@dataclass(frozen=True)
class Database:
    """A database as its role sees it after login; `migrated` is said of Airflow's alone."""

    owner: bool = True
    creates: bool = True
    migrated: bool = True
    connections: int = 0
    most_connections: int = 0


@dataclass(frozen=True)
class Role:
    """Airflow's role as the administrator sees it."""

    exists: bool = True
    login: bool = True


@dataclass(frozen=True)
class Broker:
    """The broker; memory in bytes, 0 means no limit."""

    used_memory: int = 0
    most_memory: int = 0
    policy: str = "noeviction"


@dataclass(frozen=True)
class Backend:
    """Databases, role and broker; one that did not answer has the defaults."""

    database: Database = field(default_factory=Database)
    celery: Database = field(default_factory=Database)
    role: Role = field(default_factory=Role)
    broker: Broker = field(default_factory=Broker)
