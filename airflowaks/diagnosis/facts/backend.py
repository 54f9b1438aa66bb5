"""Facts from the database and the broker, read with Airflow's secrets."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Database:
    """Airflow's database as its role sees it after login."""

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
    """Database, role and broker; one that did not answer has the defaults."""

    database: Database = field(default_factory=Database)
    role: Role = field(default_factory=Role)
    broker: Broker = field(default_factory=Broker)
