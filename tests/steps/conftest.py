"""What tests of steps against the rehearsal stand on: a resource group, in an environment of the test's own."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from airflowaks.azure.subscription import ProviderRegistration, ResourceGroup
from airflowaks.config.environment import load_environment
from airflowaks.engine.converge import converge
from airflowaks.session import Session, open_session

if TYPE_CHECKING:
    from tests.conftest import Rehearsal


@pytest.fixture
def group(rehearsal: Rehearsal, group_name: str) -> ResourceGroup:
    """A resource group, in an environment of the test's own, as no name in it is anybody else's."""
    del rehearsal
    local, name = load_environment("local"), uuid.uuid4().hex[:12]
    changes = {
        "resource_group": group_name,
        "registry": local.registry.model_copy(update={"name": f"acr{name}"}),
        "postgresql": local.postgresql.model_copy(update={"name": f"pg-{name}"}),
        "broker": local.broker.model_copy(update={"name": f"redis-{name}"}),
        "key_vault": local.key_vault.model_copy(update={"name": f"kv-{name}"}),
    }
    session = Session(local.model_copy(update=changes), "apply", open_session("local").connection)
    providers = (
        "Microsoft.Cache",
        "Microsoft.ContainerRegistry",
        "Microsoft.ContainerService",
        "Microsoft.DBforPostgreSQL",
        "Microsoft.KeyVault",
        "Microsoft.ManagedIdentity",
    )
    made = ResourceGroup(session, group_name)
    converge(session, made, *(ProviderRegistration(session, one) for one in providers))
    return made
