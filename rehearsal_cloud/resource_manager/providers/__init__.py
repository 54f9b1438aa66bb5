"""The resource providers: a module or package each, with the modules that only one of them uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.providers.cache import Cache
from rehearsal_cloud.resource_manager.providers.compute import Compute
from rehearsal_cloud.resource_manager.providers.container_registry import ContainerRegistries
from rehearsal_cloud.resource_manager.providers.container_service import ContainerService
from rehearsal_cloud.resource_manager.providers.insights import Insights
from rehearsal_cloud.resource_manager.providers.key_vault import KeyVault
from rehearsal_cloud.resource_manager.providers.managed_identity import ManagedIdentity
from rehearsal_cloud.resource_manager.providers.network import Network
from rehearsal_cloud.resource_manager.providers.policy_insights import PolicyInsights
from rehearsal_cloud.resource_manager.providers.postgresql import PostgreSql
from rehearsal_cloud.resource_manager.providers.roles import Roles
from rehearsal_cloud.resource_manager.providers.storage import Storage
from rehearsal_cloud.resource_manager.providers.tags import Tags

if TYPE_CHECKING:
    from rehearsal_cloud.resource_manager.resource_types import Provider


def providers() -> dict[str, Provider]:
    """Return the providers of a cloud, by lower-case namespace; each holds the backends of its resources."""
    instances = (
        Cache(),
        Compute(),
        ContainerRegistries(),
        ContainerService(),
        Insights(),
        KeyVault(),
        ManagedIdentity(),
        Network(),
        PolicyInsights(),
        PostgreSql(),
        Roles(),
        Storage(),
        Tags(),
    )
    return {provider.namespace.lower(): provider for provider in instances}
