"""What tests of the Kubernetes half stand on: a cluster of the rehearsal and, where there is one, a real API server."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from airflowaks.azure.subscription import ProviderRegistration, ResourceGroup
from airflowaks.config.backend_schema import FirewallRule
from airflowaks.config.environment import load_environment
from airflowaks.engine.converge import converge
from airflowaks.kube.client import Reference, connect
from airflowaks.session import Session, open_session
from airflowaks.steps import cluster
from tests.support.world import Server, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.rehearsal import Rehearsal

HERE = FirewallRule(start="127.0.0.1")


@pytest.fixture(scope="session")
def rehearsal_server(rehearsal: Rehearsal) -> Server:
    """The cluster that step 1 makes in the rehearsal."""
    del rehearsal
    local, name = load_environment("local"), f"kube-{uuid.uuid4().hex[:8]}"
    environment = local.model_copy(
        update={
            "resource_group": name,
            "cluster": local.cluster.model_copy(update={"name": name}),
            "entra": local.entra.model_copy(
                update={
                    "admin_group": f"{name}-admins",
                    "developer_group": f"{name}-developers",
                    "application": name,
                }
            ),
        }
    )
    session = Session(environment, "apply", open_session("local").connection)
    cluster.everything(session)
    return Server(environment, session.connection, session.memoize(connect).address)


@pytest.fixture
def world(rehearsal_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A namespace of the test's own."""
    folder = tmp_path / "manifests" / "objects"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    name = f"test-{uuid.uuid4().hex[:8]}"
    made = World(rehearsal_server, name, folder)
    made.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield made
    made.kube.delete(Reference("v1", "Namespace", name))


@pytest.fixture
def group(rehearsal: Rehearsal, group_name: str) -> ResourceGroup:
    """A resource group, in an environment of the test's own, as no name in it is anybody else's.

    Most tests of it have no cluster, so they connect from here.
    """
    del rehearsal
    local, name = load_environment("local"), uuid.uuid4().hex[:12]
    changes = {
        "resource_group": group_name,
        "access": "direct",
        "registry": local.registry.model_copy(update={"name": f"acr{name}"}),
        "postgresql": local.postgresql.model_copy(update={"name": f"pg-{name}", "firewall": {"this-machine": HERE}}),
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
