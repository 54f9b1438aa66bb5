"""Fixes that open what somebody has closed: the registry to its clients, and secrets of the vault."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import merge
from airflowaks.diagnosis.written import written
from airflowaks.engine.changes import Changes, Difference
from airflowaks.engine.resource import value_at
from airflowaks.steps import key_vault, registry

if TYPE_CHECKING:
    from airflowaks.session import Session

# As step 2 creates the registry: a client still needs a token and a role.
_OPEN = (
    ("properties.publicNetworkAccess", "Disabled", {"properties": {"publicNetworkAccess": "Enabled"}}),
    ("properties.networkRuleSet.defaultAction", "Deny", {"properties": {"networkRuleSet": {"defaultAction": "Allow"}}}),
)


def open_registry(session: Session) -> Changes:
    """Open the registry's public endpoint to all networks where it is closed.

    https://learn.microsoft.com/azure/container-registry/container-registry-access-selected-networks
    """
    known = session.memoize(registry.Resources).registry
    with session.translated(known):
        facts = known.refresh()
        closed = [(path, before, body) for path, before, body in _OPEN if value_at(facts, path) == before]
        if not closed:
            return Changes()
        body: dict[str, Any] = {}
        differences = []
        for path, before, part in closed:
            body = merge(body, part)
            differences.append(Difference(path, before, value_at(part, path)))

        def write() -> None:
            session.registries.registries.begin_update(known.group, known.name, body).result()
            known.refresh()

        return written(session, (known.kind, known.name, known.id), differences, write)


def enable_secrets(session: Session) -> Changes:
    """Enable the latest versions of Airflow's secrets that somebody has disabled.

    https://learn.microsoft.com/azure/key-vault/secrets/about-secrets#secret-attributes
    """
    step4, changes = session.memoize(key_vault.Resources), Changes()
    vault = step4.vault
    with session.translated(vault):
        vault.refresh()
        for secret in step4.secrets:
            latest = vault.latest_version(secret.name)
            if latest is not None and latest.enabled is False:
                enable = partial(vault.secrets.update_secret_properties, secret.name, latest.version, enabled=True)
                thing = (secret.kind, secret.name, secret.id)
                changes += written(session, thing, [Difference("enabled", before=False, after=True)], enable)
    return changes
