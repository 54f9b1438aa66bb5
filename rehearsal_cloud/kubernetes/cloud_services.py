"""The protocol of a cluster's cloud: the only services of the cloud that a cluster can use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra, Principal
    from rehearsal_cloud.home import Home, Settings
    from rehearsal_cloud.kubernetes.images.builds import ImageBuilds
    from rehearsal_cloud.store import Store


class Authorization(Protocol):
    """Azure RBAC."""

    def allows(self, principal: Principal, action: str, scope: str, *, data: bool = False) -> bool:
        """Tell whether a role assignment allows the action, or data action, at the scope."""


class Breakdown(Protocol):
    """A fault that a drill injects into the machines of clusters."""

    @property
    def name(self) -> str:
        """The pattern of the affected names."""

    @property
    def message(self) -> str:
        """The error message of the broken part."""

    @property
    def seconds(self) -> int:
        """By how much a clock is ahead."""


class Breakdowns(Protocol):
    """The active faults; `changed` is set when they change."""

    changed: asyncio.Event

    def breakdown(self, kind: str, name: str = "") -> Breakdown | None:
        """Return the active breakdown of this kind, matching `name` if set."""


class CloudServices(Protocol):
    """The services of a cloud for its clusters."""

    home: Home
    settings: Settings
    tls: ssl.SSLContext
    store: Store
    entra: Entra
    image_builds: ImageBuilds

    @property
    def authorization(self) -> Authorization:
        """Azure RBAC."""

    @property
    def faults(self) -> Breakdowns:
        """The faults of drills."""

    def keep(self, document: Document) -> None:
        """Write a resource's document."""

    def secret_versions(self, vault: str) -> Mapping[str, str]:
        """Return the newest version of each secret in the vault with this name; a missing vault has none."""
