"""The resource providers that the rehearsal serves, by lower-case namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.rehearsal.providers.cache import Cache
from airflowaks.rehearsal.providers.compute import Compute
from airflowaks.rehearsal.providers.container_registry import ContainerRegistries
from airflowaks.rehearsal.providers.container_service import ContainerService
from airflowaks.rehearsal.providers.generic import Network
from airflowaks.rehearsal.providers.insights import Insights
from airflowaks.rehearsal.providers.key_vault import KeyVault
from airflowaks.rehearsal.providers.managed_identity import ManagedIdentity
from airflowaks.rehearsal.providers.postgresql import PostgreSql
from airflowaks.rehearsal.providers.roles import Roles
from airflowaks.rehearsal.providers.storage import Storage

if TYPE_CHECKING:
    from airflowaks.rehearsal.resource_types import Provider

PROVIDERS: dict[str, Provider] = {
    provider.namespace.lower(): provider
    for provider in (
        Cache(),
        Compute(),
        ContainerRegistries(),
        ContainerService(),
        Insights(),
        KeyVault(),
        ManagedIdentity(),
        Network(),
        PostgreSql(),
        Roles(),
        Storage(),
    )
}
