"""Facts from the services: Azure and Entra, Airflow, and its database and broker, read with Airflow's secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflowaks.diagnosis.facts.parsing import Parsing
from airflowaks.diagnosis.facts.resource_status import ResourceStatus
from airflowaks.diagnosis.facts.waiting import Waiting, duration

_LONG_WAIT_SECONDS, _LONG_IDLE_SECONDS, _LONG_SECONDS = 20.0, 120.0, 900.0


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
    """The resources of steps 1 to 5 by step and attribute (`registry.pull_access`), quotas and failed operations.

    `ahead` is how many seconds the clock of this machine, which makes the diagnosis, is ahead of Azure's.
    """

    resources: Mapping[str, ResourceStatus] = field(default_factory=dict)
    power: str = ""
    vault_deleted: bool = False
    registry_mode: str = ""
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()
    ahead: float = 0.0

    def deviations(self, kind: str) -> list[str]:
        """Return a line for each resource of a kind that does not exist, and for each difference of the others."""
        statuses = [status for status in self.resources.values() if status.kind == kind]
        absent = [f"{status.title} does not exist" for status in statuses if status.missing]
        return absent + [f"{status.title}: {difference}" for status in statuses for difference in status.differences]


EXECUTOR_SAYS = "; the executor says: "
"""What separates the scheduler's note of a failed task from the exception that the executor has of its worker."""


@dataclass(frozen=True)
class FailedTask:
    """The failed instances of a task since `since`: the last failure (ISO 8601) and the end of its log.

    An empty `task` is the run itself. `event` is what the scheduler noted, which fails tasks whose process it has lost.
    Of its last `ended` tries `failed` ones failed; `succeeded` is when an instance began last that succeeded.
    `encrypted` means that the connection or variable which it did not get is there.
    """

    dag: str
    task: str
    at: str
    log: str = ""
    count: int = 1
    since: str = ""
    event: str = ""
    failed: int = 0
    ended: int = 0
    succeeded: str = ""
    encrypted: bool = False


@dataclass(frozen=True)
class Airflow:
    """Health by component, queues by worker pod (empty if the worker named none), and tasks.

    `silent` are pods of the api-server and the web pages that accept connections and do not answer. `queued_seconds` is
    the age of the oldest queued task; `succeeded` is when a task began last that succeeded (ISO 8601). Import errors
    are by file.
    """

    health: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    queues: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    queued: int = 0
    queued_seconds: float = 0.0
    failed: tuple[FailedTask, ...] = ()
    succeeded: str = ""
    import_errors: Mapping[str, str] = field(default_factory=dict)
    waiting: Waiting = field(default_factory=Waiting)
    parsing: Parsing = field(default_factory=Parsing)


@dataclass(frozen=True)
class Database:
    """A database as its role sees it after login; `migrated`, `empty` and `schema` are said of Airflow's alone.

    `migrated` tells that it has the table of the schema's revision; `empty` that it has no table of Airflow at all.
    `clients` are the server's connections by role, application and address, the most first. `read_only` is empty, or
    why new transactions cannot write: `recovery`, or where the default is set (`pg_settings.source`). `idle_seconds`
    is how long a session may be idle, 0 for ever. `schema` is the revision of Airflow's tables.
    """

    owner: bool = True
    creates: bool = True
    migrated: bool = True
    empty: bool = False
    connections: int = 0
    most_connections: int = 0
    clients: Mapping[str, int] = field(default_factory=dict)
    read_only: str = ""
    idle_seconds: float = 0.0
    schema: str = ""


@dataclass(frozen=True)
class Transaction:
    """A transaction of a session that blocks others, or is open for long; `statement` is the kind of its last one.

    `seconds` is its age; `blocked` sessions wait for its locks, the first of them for `blocked_seconds`.
    """

    pid: int
    role: str = ""
    application: str = ""
    client: str = ""
    state: str = ""
    statement: str = ""
    seconds: float = 0.0
    blocked: int = 0
    blocked_seconds: float = 0.0

    @property
    def blocks(self) -> bool:
        """Tell whether others wait for it longer than for a moment."""
        return self.blocked_seconds > _LONG_WAIT_SECONDS

    @property
    def idle(self) -> bool:
        """Tell whether it runs no statement."""
        return self.state.startswith("idle in transaction")

    @property
    def is_long(self) -> bool:
        """Tell whether it is older than any of Airflow's: none of those is idle for long."""
        return self.seconds > (_LONG_IDLE_SECONDS if self.idle else _LONG_SECONDS)

    @property
    def session(self) -> str:
        """Return whose it is."""
        application = f" ({self.application})" if self.application else ""
        return f"{self.pid} of {self.role}{application}{f' from {self.client}' if self.client else ''}"

    def __str__(self) -> str:
        blocked = f", blocks {self.blocked} for {duration(self.blocked_seconds)}" if self.blocked else ""
        age = f"open for {duration(self.seconds)}, last statement {self.statement or 'unknown'}"
        return f"session {self.session}: {self.state}, {age}{blocked}"


@dataclass(frozen=True)
class Role:
    """Airflow's role as the administrator sees it."""

    exists: bool = True
    login: bool = True


@dataclass(frozen=True)
class Broker:
    """The broker; memory in bytes, 0 means no limit.

    `queued` are the messages by queue; `unacknowledged` are those that workers have taken and not finished. The broker
    has a message of each of the `sent` tasks, which have been queued for a minute, and of the `started` ones, which
    have been running for a minute.
    """

    used_memory: int = 0
    most_memory: int = 0
    policy: str = "noeviction"
    replica: bool = False
    clients: int = 0
    most_clients: int = 0
    addresses: Mapping[str, int] = field(default_factory=dict)
    queued: Mapping[str, int] = field(default_factory=dict)
    unacknowledged: int = 0
    sent: int = 0
    started: int = 0


@dataclass(frozen=True)
class Backend:
    """Databases, role, transactions and broker; one that did not answer has the defaults."""

    database: Database = field(default_factory=Database)
    celery: Database = field(default_factory=Database)
    role: Role = field(default_factory=Role)
    transactions: tuple[Transaction, ...] = ()
    broker: Broker = field(default_factory=Broker)
