"""Celery's broker URL in the vault: its key must be one that the broker lists, and that it accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.redis import broker_url, ping
from airflowaks.azure.vault_secret import VaultSecret
from airflowaks.cloud.database_urls import password_of
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.polling import wait_until
from airflowaks.engine.resource import ADOPTED
from airflowaks.errors import NotConverged

if TYPE_CHECKING:
    from airflowaks.azure.key_vault import Vault
    from airflowaks.azure.redis import Broker
    from airflowaks.azure.roles import RoleAssignment
    from airflowaks.cloud.redaction import Secret
    from airflowaks.cloud.routes import Route
    from airflowaks.engine.resource import Facts


class BrokerUrl(VaultSecret):
    """The secret with the broker's URL. The key in it stays while the broker lists it."""

    def __init__(self, vault: Vault, access: RoleAssignment, name: str, broker: Broker, route: Route) -> None:
        super().__init__(vault, access, name, "Celery broker URL", self._with_listed_key)
        self._broker = broker
        self._route = route

    def read(self) -> Facts | None:
        """Return the secret. Another operator may have regenerated its key, and written it, since keys were listed."""
        facts = super().read()
        held = (facts or {}).get("value")
        if held and self._broker.has_host:
            keys = self._broker.keys()
            if password_of(held.reveal()) not in (keys.primary.reveal(), keys.secondary.reveal()):
                self._broker.forget_keys()
        return facts

    def _with_listed_key(self, held: Secret | None) -> Any:
        if not self._broker.has_host:
            return AFTER_APPLY
        in_use, keys = password_of(held.reveal()) if held else None, self._broker.keys()
        return broker_url(self._broker, keys.secondary if in_use == keys.secondary.reveal() else keys.primary)

    def prove(self) -> str:
        """Send PING with the vault's URL and return the broker's version. Raises as `airflowaks.azure.redis.ping`."""
        return ping(self.require("value").reveal(), self.session.connection.ca_file, self._route)

    def await_ready(self) -> None:
        """Return when the broker accepts the vault's URL.

        Raises:
            NotConverged: it refuses the key, although it lists it.

        """
        if not wait_until(self._accepted, bool, self.settling_seconds):
            message = f"{self}: the broker refuses the key in it, although it lists that key."
            action = f"Run step 4 with `rotate` set to {self.name}: it regenerates the idle key."
            if self._broker.origin == ADOPTED:
                action = "Ask the broker's owner to regenerate it, then run step 4 again."
            raise NotConverged(message, action)

    def _accepted(self) -> bool:
        """Tell whether the broker accepts the URL. A broker that is out of reach is left to the checks of the step.

        Another operator may have regenerated the key after this one listed the keys or wrote the URL; the vault then
        gets a key that is listed now.
        """
        import redis

        try:
            self.prove()
        except redis.AuthenticationError:
            self._broker.forget_keys()
            self.refresh()
            if self.differences():
                self.write(self.facts)
                self.refresh()
            return False
        except (redis.RedisError, OSError):
            return True
        return True
