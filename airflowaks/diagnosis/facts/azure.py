"""Facts from Azure and Entra."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflowaks.diagnosis.facts.resource_status import ResourceStatus


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
