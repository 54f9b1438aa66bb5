"""The key vault, and what Azure keeps of a deleted one.

Source: https://learn.microsoft.com/azure/key-vault/general/rbac-guide
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmResource, is_marked, merge, rest
from airflowaks.azure.roles import allows, held_roles
from airflowaks.engine.assessment import assess
from airflowaks.engine.changes import Action
from airflowaks.engine.resource import ADOPTED, MADE_HERE, Facts, Resource

if TYPE_CHECKING:
    from azure.keyvault.secrets import SecretClient, SecretProperties

    from airflowaks.cloud.redaction import Secret
    from airflowaks.session import Session

PURGE = "Microsoft.KeyVault/locations/deletedVaults/purge/action"
"""The action that purges a soft-deleted vault."""


class Vault(ArmResource):
    """A vault in which role assignments decide who may read and write secrets."""

    kind = "key vault"
    type = "Microsoft.KeyVault/vaults"
    sdk = "vaults.vaults"
    immutable = ("location", "properties.tenantId", "properties.softDeleteRetentionInDays")

    may_read_values: bool | None = None
    """Whether the caller of a check may read the values of secrets; None before a secret was read."""

    def __init__(self, session: Session, name: str, **options: Any) -> None:
        super().__init__(session, name, **options)
        self.first_read = threading.Lock()
        """Held while a check reads the first secret."""

    @property
    def uri(self) -> Any:
        """Return the vault's URL, or AFTER_APPLY."""
        return self.fact("properties.vaultUri")

    def desired(self) -> Facts:
        """Want RBAC and soft delete; purge protection can be enabled and never disabled."""
        environment, settings = self.session.environment, self.session.environment.key_vault
        protection = {"enablePurgeProtection": True} if settings.purge_protection else {}
        return {
            "location": environment.location,
            "tags": self.tags(),
            "properties": {
                "tenantId": environment.tenant_id,
                "sku": {"family": "A", "name": settings.sku},
                "enableRbacAuthorization": True,
                "enableSoftDelete": True,
                "softDeleteRetentionInDays": settings.soft_delete_days,
                "publicNetworkAccess": "Enabled",
                **protection,
            },
        }

    def put(self, body: dict[str, Any]) -> None:
        """Create or update the vault; Azure refuses a request without access policies even with RBAC."""
        super().put({**body, "properties": {"accessPolicies": [], **body["properties"]}})

    def write(self, facts: Facts | None) -> None:
        """Create or update the vault; a soft-deleted one with this resource ID is first recovered with its secrets.

        A recovery ignores all properties but `createMode`: https://github.com/Azure/azure-rest-api-specs/issues/21306.
        Raises ImmutableProperty where no update can change what the recovered vault has.
        """
        if facts is None and SoftDeletedVault(self).read() is not None:
            self.put(merge(self.desired(), {"properties": {"createMode": "recover"}}))
            facts = self.refresh()
            if assess(self)[0] is not Action.UPDATE:
                return
        super().write(facts)

    @cached_property
    def secrets(self) -> SecretClient:
        """Return a client of the vault's secrets."""
        return self.session.secrets(str(self.uri))

    def latest_version(self, name: str) -> SecretProperties | None:
        """Return the properties of a secret's latest version, which take no right to read its value, or None."""
        from azure.core.exceptions import ResourceNotFoundError

        versions = self.secrets.list_properties_of_secret_versions(name)
        try:
            return max(
                versions, key=lambda version: version.created_on or datetime.min.replace(tzinfo=UTC), default=None
            )
        except ResourceNotFoundError:
            return None


def read_secret(session: Session, url: str) -> Secret:
    """Return the latest version of a secret of any vault. Raises AzureError."""
    vault, _, name = url.partition("/secrets/")
    with session.translated(f"Secret {url}"), session.secrets(vault) as secrets:
        return session.redactor.learn(secrets.get_secret(name).value or "")


class SoftDeletedVault(Resource):
    """A deleted vault, whose secrets and name Azure keeps until the vault is recovered or purged."""

    kind = "soft-deleted vault"

    def __init__(self, vault: Vault) -> None:
        super().__init__(vault.session, vault.name)
        self.vault = vault
        self._location = vault.session.environment.location

    @property
    def id(self) -> str:
        """Return the ID of the soft-deleted vault."""
        subscription = f"/subscriptions/{self.session.environment.subscription_id}"
        return f"{subscription}/providers/Microsoft.KeyVault/locations/{self._location}/deletedVaults/{self.name}"

    def read(self) -> Facts | None:
        """Return the soft-deleted vault, or None where there is none with the vault's resource ID."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            deleted: Facts = self.session.vaults.vaults.get_deleted(self.name, self._location, cls=rest)
        except ResourceNotFoundError:
            return None
        return deleted if deleted["properties"]["vaultId"].lower() == self.vault.id.lower() else None

    @property
    def origin(self) -> str:
        """Return whether the vault had the environment's mark."""
        if self.facts is None:
            return ""
        return MADE_HERE if is_marked(self.session, self.facts["properties"].get("tags")) else ADOPTED

    def may_purge(self) -> bool:
        """Tell whether a role of the operator allows to purge it: at the subscription, where its ID is.

        "Only the subscription owner or a user with the 'Key Vault Purge Operator' RBAC role":
        https://learn.microsoft.com/azure/key-vault/general/soft-delete-overview. Contributor on the subscription has
        the action, too, and so may (believed).
        """
        return allows(held_roles(self.session, f"/subscriptions/{self.session.environment.subscription_id}"), PURGE)

    def desired(self) -> Facts:
        """Want nothing: it can only be removed."""
        return {}

    def write(self, facts: Facts | None) -> None:
        """Do nothing: Azure creates it when the vault is deleted."""

    def delete(self) -> None:
        """Purge the vault and its secrets for good; its name is free afterwards."""
        self.session.vaults.vaults.begin_purge_deleted(self.name, self._location).result()
