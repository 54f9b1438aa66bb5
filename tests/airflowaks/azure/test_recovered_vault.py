"""A deleted vault is recovered as it was, and then brought to what the environment says today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.azure.key_vault import Vault
from airflowaks.engine.converge import converge
from airflowaks.errors import ImmutableProperty
from airflowaks.session import Session

if TYPE_CHECKING:
    from airflowaks.azure.subscription import ResourceGroup

pytestmark = pytest.mark.broad

RULES = {"bypass": "AzureServices", "defaultAction": "Allow", "ipRules": [{"value": "203.0.113.7/32"}]}


def deleted(group: ResourceGroup) -> Vault:
    """A vault that was deleted; somebody had added a network rule."""
    vault = Vault(group.session, group.session.environment.key_vault.name, parent=group)
    converge(group.session, vault)
    vault.put({**vault.desired(), "properties": {**vault.desired()["properties"], "networkAcls": RULES}})
    group.session.vaults.vaults.delete(vault.group, vault.name)
    return vault


def redeployed(vault: Vault, **settings: object) -> Vault:
    """The vault in an environment with another tag and these settings."""
    environment, session = vault.session.environment, vault.session
    changes = {
        "tags": {**environment.tags, "cost-center": "4711"},
        "key_vault": environment.key_vault.model_copy(update=settings),
    }
    session = Session(environment.model_copy(update=changes), "apply", session.connection)
    return Vault(session, vault.name, group=vault.group)


def test_what_changed_since_the_deletion_is_written_too(group: ResourceGroup) -> None:
    vault = redeployed(deleted(group), purge_protection=True)
    converge(vault.session, vault)
    assert vault.fact("properties.enablePurgeProtection") is True
    assert vault.fact("tags.cost-center") == "4711"
    assert vault.fact("properties.networkAcls.ipRules") == RULES["ipRules"]


def test_what_cannot_be_changed_is_said(group: ResourceGroup) -> None:
    vault = redeployed(deleted(group), soft_delete_days=8)
    with pytest.raises(ImmutableProperty, match="softDeleteRetentionInDays = "):
        converge(vault.session, vault)
