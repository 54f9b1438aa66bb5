"""What the database and the broker say, asked with the very secrets that Airflow has."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Database:
    """Airflow's database, as its role sees it once it has logged in."""

    owner: bool = True
    creates: bool = True
    migrated: bool = True
    connections: int = 0
    most_connections: int = 0


@dataclass(frozen=True)
class Role:
    """Airflow's role, as the administrator sees it."""

    exists: bool = True
    login: bool = True


@dataclass(frozen=True)
class Broker:
    """The broker once it has answered; memory in bytes, where 0 is no limit."""

    used_memory: int = 0
    most_memory: int = 0
    policy: str = "noeviction"


@dataclass(frozen=True)
class Backend:
    """Database, role and broker; the defaults where one could not be asked."""

    database: Database = field(default_factory=Database)
    role: Role = field(default_factory=Role)
    broker: Broker = field(default_factory=Broker)
