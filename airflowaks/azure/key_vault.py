"""The key vault and the secrets in it.

Source: https://learn.microsoft.com/azure/key-vault/general/rbac-guide and .../secrets/about-secrets
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmResource, rest
from airflowaks.cloud.error_mapping import error_codes
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.diff import compare
from airflowaks.engine.polling import retry_on
from airflowaks.engine.resource import Facts, Resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.keyvault.secrets import SecretClient

    from airflowaks.azure.roles import RoleAssignment
    from airflowaks.cloud.redaction import Secret

_SPREAD_SECONDS = 30.0


class Vault(ArmResource):
    """A vault whose secrets are guarded by role assignments."""

    kind = "key vault"
    type = "Microsoft.KeyVault/vaults"
    immutable = ("location", "properties.tenantId", "properties.softDeleteRetentionInDays")

    @property
    def uri(self) -> Any:
        """Return the vault's URL, or AFTER_APPLY."""
        return self.fact("properties.vaultUri")

    def get(self) -> Facts:
        """Read the vault."""
        facts: Facts = self.session.vaults.vaults.get(self.group, self.name, cls=rest)
        return facts

    def desired(self) -> Facts:
        """Want RBAC and soft delete; purge protection can be switched on and never off."""
        environment, settings = self.session.environment, self.session.environment.key_vault
        protection = {"enablePurgeProtection": True} if settings.purge_protection else {}
        return {
            "location": environment.location,
            "tags": environment.tags,
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
        """Create or update the vault; a request without access policies is refused even where roles replace them.

        A vault of this very ID that was deleted is recovered, with its secrets; somebody else's of that name is not.
        """
        properties = {"accessPolicies": [], **body["properties"]}
        if self.facts is None and SoftDeletedVault(self).read() is not None:
            properties["createMode"] = "recover"
        parameters: Any = {"location": body["location"], "tags": body["tags"], "properties": properties}
        self.session.vaults.vaults.begin_create_or_update(self.group, self.name, parameters).result()

    @cached_property
    def secrets(self) -> SecretClient:
        """Return a client of the vault's secrets."""
        from azure.keyvault.secrets import SecretClient

        session = self.session
        policies = [session.correlation_policy]
        return SecretClient(
            str(self.uri), session.connection.credential, per_call_policies=policies, **session.connection.transport
        )


class SoftDeletedVault(Resource):
    """What Azure keeps of a deleted vault, its secrets and its name with it, until it is recovered or purged."""

    kind = "soft-deleted vault"

    def __init__(self, vault: Vault) -> None:
        super().__init__(vault.session, vault.name)
        self.vault = vault
        self._location = vault.session.environment.location

    @property
    def id(self) -> str:
        """Return the ID under which Azure keeps it."""
        subscription = f"/subscriptions/{self.session.environment.subscription_id}"
        return f"{subscription}/providers/Microsoft.KeyVault/locations/{self._location}/deletedVaults/{self.name}"

    def read(self) -> Facts | None:
        """Return it, or None where there is none, or where it was another vault of that name."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            found: Facts = self.session.vaults.vaults.get_deleted(self.name, self._location, cls=rest)
        except ResourceNotFoundError:
            return None
        return found if found["properties"]["vaultId"].lower() == self.vault.id.lower() else None

    def desired(self) -> Facts:
        """Want nothing: it is there, or it is removed."""
        return {}

    def write(self, facts: Facts | None) -> None:
        """Do nothing: deleting the vault makes it."""

    def delete(self) -> None:
        """Purge the vault, its secrets and its name, for good."""
        self.session.vaults.vaults.begin_purge_deleted(self.name, self._location).result()


class VaultSecret(Resource):
    """One secret of the vault: its latest version is enabled and holds a value that its purpose accepts."""

    kind = "secret"

    def __init__(
        self,
        vault: Vault,
        access: RoleAssignment,
        name: str,
        purpose: str,
        value: Callable[[Secret | None], Any],
        *,
        depends_on: tuple[Resource, ...] = (),
    ) -> None:
        """Take `value`: told what the vault holds, it returns what it should hold, the same where that will do.

        It returns AFTER_APPLY where that cannot be known yet.
        """
        super().__init__(vault.session, name, parent=vault, depends_on=(access, *depends_on))
        self.vault = vault
        self.access = access
        self.purpose = purpose
        self._value = value
        self._pending: Secret | None = None

    @property
    def id(self) -> str:
        """Return the secret's URL, without a version."""
        return f"{self.vault.uri}secrets/{self.name}"

    @property
    def value(self) -> Secret | None:
        """Return what the vault holds, or None."""
        value = self.fact("value")
        return None if value is AFTER_APPLY else value

    def read(self) -> Facts | None:
        """Return the latest version. A role that was just assigned takes up to ten minutes to be heeded.

        Whether the operator may read is for the vault to say: the role may be inherited from a group of resources.
        """
        from azure.core.exceptions import ResourceNotFoundError

        try:
            found = retry_on(
                lambda: self.vault.secrets.get_secret(self.name),
                lambda error: self.access.recently_written and "ForbiddenByRbac" in error_codes(error),
            )
        except ResourceNotFoundError:
            return None
        value = self.session.redactor.learn(found.value or "")
        return {"value": value, "contentType": found.properties.content_type, "version": found.properties.version}

    def desired(self) -> Facts:
        """Want a value that will do: what there is, if it does. A value that was made is wanted until it is held."""
        if self._pending is None or self._pending == self.value:
            value = self._value(self.value)
            self._pending = None if value is AFTER_APPLY else self.session.redactor.learn(value)
        return {"value": AFTER_APPLY if self._pending is None else self._pending, "contentType": self.purpose}

    @property
    def wanted(self) -> Any:
        """Return the wanted value as a Secret, or AFTER_APPLY."""
        return self.desired()["value"]

    def replace(self, value: str) -> None:
        """Want another value than the vault holds, at the next converge."""
        self._pending = self.session.redactor.learn(value)

    def write(self, facts: Facts | None) -> None:
        """Write a new version. One that is soft-deleted is brought back first, and kept where it still will do."""
        del facts
        from azure.core.exceptions import ResourceExistsError

        try:
            self._set()
        except ResourceExistsError:
            self.vault.secrets.begin_recover_deleted_secret(self.name).wait()
            # What a deleted key has encrypted can be read with no other: the value made for its absence is dropped.
            self._pending = None
            recovered = self.refresh()
            if compare(self.desired(), recovered):
                # For some seconds after a recovery, or a purge, the vault still answers 409.
                retry_on(self._set, lambda error: isinstance(error, ResourceExistsError), _SPREAD_SECONDS)

    def _set(self) -> None:
        self.vault.secrets.set_secret(self.name, self.wanted.reveal(), content_type=self.purpose)
