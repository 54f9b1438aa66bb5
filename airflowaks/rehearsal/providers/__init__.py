"""The resource providers that the rehearsal serves, by lower-case namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.rehearsal.providers.key_vault import KeyVault
from airflowaks.rehearsal.providers.managed_identity import ManagedIdentity
from airflowaks.rehearsal.providers.network import Network
from airflowaks.rehearsal.providers.roles import Roles

if TYPE_CHECKING:
    from airflowaks.rehearsal.resource_types import Provider

PROVIDERS: dict[str, Provider] = {
    provider.namespace.lower(): provider for provider in (KeyVault(), ManagedIdentity(), Network(), Roles())
}
