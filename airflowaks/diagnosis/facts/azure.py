"""What Azure and Entra say of a deployment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflowaks.diagnosis.facts.resource_status import ResourceStatus


@dataclass(frozen=True)
class Operation:
    """A write that Azure refused or that failed, and that none has succeeded after; `at` is ISO 8601."""

    at: str
    name: str
    resource: str
    message: str


@dataclass(frozen=True)
class Quota:
    """How much of a regional limit is used, such as the cores of a family of machines."""

    used: int
    limit: int


@dataclass(frozen=True)
class Azure:
    """The resources of steps 1 to 5 by step and name (`registry.pull_access`), and what surrounds them."""

    resources: Mapping[str, ResourceStatus] = field(default_factory=dict)
    power: str = ""
    vault_deleted: bool = False
    registry_mode: str = ""
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()
