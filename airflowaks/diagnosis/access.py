"""Fixes that open what somebody has closed: the registry to its clients, and secrets of the vault."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis.written import written
from airflowaks.engine.changes import Changes, Difference
from airflowaks.engine.resource import ADOPTED, value_at
from airflowaks.steps import key_vault, registry

if TYPE_CHECKING:
    from airflowaks.session import Session

_ACCESS = "properties.publicNetworkAccess"


def open_registry(session: Session) -> Changes:
    """Open the public endpoint of a registry that step 2 has made. Rules for networks stay as their author set them.

    https://learn.microsoft.com/azure/container-registry/container-registry-access-selected-networks
    """
    known = session.memoize(registry.Resources).registry
    with session.translated(known):
        before = value_at(known.refresh(), _ACCESS)
        if before != "Disabled" or known.origin == ADOPTED:
            return Changes()

        def write() -> None:
            body: Any = {"properties": {"publicNetworkAccess": "Enabled"}}
            session.registries.registries.begin_update(known.group, known.name, body).result()
            known.refresh()

        return written(session, (known.kind, known.name, known.id), [Difference(_ACCESS, before, "Enabled")], write)


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
