"""A secret in the vault: what is desired of it, and how a new version is written.

Source: https://learn.microsoft.com/azure/key-vault/secrets/about-secrets
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.cloud.error_mapping import error_codes
from airflowaks.engine.changes import AFTER_APPLY, Placeholder
from airflowaks.engine.diff import compare
from airflowaks.engine.polling import retry_on
from airflowaks.engine.resource import Facts, Resource
from airflowaks.errors import PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.azure.key_vault import Vault
    from airflowaks.azure.roles import RoleAssignment
    from airflowaks.cloud.redaction import Secret

_SPREAD_SECONDS = 30.0
_FORBIDDEN = "ForbiddenByRbac"
_GET_SECRET = "Microsoft.KeyVault/vaults/secrets/getSecret/action"  # noqa: S105 - an action's name

NEW_SECRET: Any = Placeholder("(new secret)")
"""A value that the next write generates; until then it exists nowhere."""


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
        generate: Callable[[], str] | None = None,
        *,
        depends_on: tuple[Resource, ...] = (),
    ) -> None:
        """Take `value`, which maps the value in the vault to the desired one, and `generate`, which `write` calls.

        `value` returns its argument where the purpose accepts it, NEW_SECRET where `generate` is to make the value, and
        AFTER_APPLY where the value depends on a resource that does not exist yet.
        """
        super().__init__(vault.session, name, parent=vault, depends_on=(access, *depends_on))
        self.vault = vault
        self.access = access
        self.purpose = purpose
        self._value = value
        self._sources = [need for need in depends_on if isinstance(need, VaultSecret)]
        """The secrets that the value is a copy of. Another run may renew them, and the copies then."""
        self._generate = generate
        self.interrupts = ""
        """What its renewal interrupts, in a sentence."""
        self._renewed = False
        self._pending: Any = None
        self._versions: tuple[Any, ...] = ()
        """The version before the write of the pending value, and that of the write."""

    @property
    def id(self) -> str:
        """Return the secret's URL, without a version."""
        return f"{self.vault.uri}secrets/{self.name}"

    @property
    def value(self) -> Secret | None:
        """Return the value in the vault, or None."""
        value = self.fact("value")
        return None if value is AFTER_APPLY else value

    def read(self) -> Facts | None:
        """Return the latest version. A new role assignment takes up to ten minutes to take effect.

        Only the vault knows whether the operator may read: the role may be assigned at the resource group. A check by a
        caller who may not gets the version's properties. One refusal answers for all secrets: Defender alerts on
        "unusual access denied" (https://learn.microsoft.com/azure/defender-for-cloud/alerts-azure-key-vault).
        """
        if self.session.mode == "check":
            with self.vault.first_read:
                if self.vault.may_read_values is None:
                    return self._read()
        return self._read()

    def _read(self) -> Facts | None:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        if self.vault.may_read_values is False:
            return self._properties()
        try:
            secret = retry_on(
                lambda: self.vault.secrets.get_secret(self.name),
                lambda error: self.access.recently_written and _FORBIDDEN in error_codes(error),
            )
        except ResourceNotFoundError:
            return None
        except HttpResponseError as error:
            if self.session.mode != "check" or _FORBIDDEN not in error_codes(error):
                raise
            self.vault.may_read_values = False
            return self._properties()
        self.vault.may_read_values = True
        value, version = self.session.redactor.learn(secret.value or ""), secret.properties.version
        if value == self._pending or (self._versions and version not in self._versions):
            # A third version is newer: another operator's, who wrote after this one. It is then as good as any other.
            self._pending = None
            self._read_sources()
        return {"value": value, "contentType": secret.properties.content_type, "version": version}

    def require(self, path: str) -> Any:
        """Return one fact. Raises MissingDependency, and PermissionDenied for a value that the caller may not read."""
        if path == "value" and self.facts is not None and self.unread:
            message = f"Secret {self.name}: you have no right to read its value."
            raise PermissionDenied(message, "Request Key Vault Secrets User on the vault.", needs=_GET_SECRET)
        return super().require(path)

    def _properties(self) -> Facts | None:
        """Return what the role Key Vault Reader sees of the latest version: all but the value."""
        self.unread = f"its value needs {_GET_SECRET}"
        latest = self.vault.latest_version(self.name)
        if latest is None:
            return None
        return {"contentType": latest.content_type, "version": latest.version, "enabled": latest.enabled}

    def desired(self) -> Facts:
        """Want the value in the vault if its purpose accepts it, or the pending value until the vault has a newer one.

        Where the caller of a check may not read the value, want what the properties say of it.
        """
        if self.unread:
            return {"contentType": self.purpose, "enabled": True}
        return {"value": self.desired_value, "contentType": self.purpose}

    @property
    def desired_value(self) -> Any:
        """The desired value as a Secret, NEW_SECRET or AFTER_APPLY."""
        value = self._value(self.value) if self._pending is None else self._pending
        return value if value in (AFTER_APPLY, NEW_SECRET) else self.session.redactor.learn(value)

    @property
    def note(self) -> str:
        """Return what the renewal of the secret interrupts, if this session renews it."""
        return self.interrupts if self._renewed else ""

    def renew(self) -> None:
        """Have the next write generate another value."""
        self._pending, self._versions, self._renewed = NEW_SECRET, (), True

    def replace(self, value: str) -> None:
        """Have the next write set this value."""
        self._pending, self._versions = self.session.redactor.learn(value), ()

    def write(self, facts: Facts | None) -> None:
        """Write a new version, with a generated value if the secret has none.

        A soft-deleted secret is recovered first, and its value kept where the purpose accepts it.
        """
        del facts
        from azure.core.exceptions import ResourceExistsError

        try:
            self._set()
        except ResourceExistsError:
            self.vault.secrets.begin_recover_deleted_secret(self.name).wait()
            # Only the recovered key decrypts what it encrypted, so the value generated in its place is dropped.
            self._pending = None
            recovered = self.refresh()
            if compare(self.desired(), recovered):
                # The vault answers 409 for some seconds after a recovery or a purge.
                retry_on(self._set, lambda error: isinstance(error, ResourceExistsError), _SPREAD_SECONDS)

    def _set(self) -> None:
        value = self.desired_value
        if value is NEW_SECRET and self._generate:
            # Kept until the vault returns it: a retry must write the same value.
            self._pending = value = self.session.redactor.learn(self._generate())
        written = self.vault.secrets.set_secret(self.name, value.reveal(), content_type=self.purpose)
        self._versions = (self.fact("version"), written.properties.version)
        self._read_sources()
        if self.desired_value not in (value, AFTER_APPLY):
            self._set()

    def _read_sources(self) -> None:
        for source in self._sources:
            source.refresh()
