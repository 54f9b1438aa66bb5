"""What a cluster needs of the cloud that it runs in; all else of the cloud is out of its reach."""

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
    """Something that a drill breaks on the machines of clusters."""

    @property
    def name(self) -> str:
        """The pattern of the names that it is about."""

    @property
    def message(self) -> str:
        """What the broken part says."""


class Breakdowns(Protocol):
    """What is broken now; `changed` is set when that changes."""

    changed: asyncio.Event

    def breakdown(self, kind: str, name: str = "") -> Breakdown | None:
        """Return the breakdown of that kind which is about `name`, or about anything if no name is given."""


class CloudServices(Protocol):
    """The services of one cloud that its clusters use."""

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
        """What a drill has broken."""

    def keep(self, document: Document) -> None:
        """Write a resource's document."""

    def secret_versions(self, vault: str) -> Mapping[str, str]:
        """Return the newest version of each secret in the vault of that name; of a missing vault, none."""
