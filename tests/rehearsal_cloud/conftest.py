"""What the tests of the rehearsal cloud share: the operator's clients, plain requests, a group, and a newcomer."""

from __future__ import annotations

import uuid
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.keyvault import KeyVaultManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient

from tests.support.azure_requests import Grant, Newcomer, Sender, make_service_principal
from tests.support.rehearsal import Rehearsal, reset_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.core.credentials import TokenCredential


@pytest.fixture(scope="session")
def operator(rehearsal: Rehearsal) -> Iterator[TokenCredential]:
    """The operator's credential, with its tokens."""
    with closing(rehearsal.credential()) as credential:
        yield credential


@pytest.fixture(scope="session")
def send(rehearsal: Rehearsal, operator: TokenCredential) -> Iterator[Sender]:
    with ExitStack() as opened:
        yield Sender(rehearsal, operator, opened)


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A rehearsal where everything takes twenty times as long as on Azure, but replication two seconds."""
    home = tmp_path_factory.mktemp("slow") / "home"
    yield start_rehearsal(home, "--time-scale", "20", "--replication-seconds", "0.1")
    reset_rehearsal(home)


@pytest.fixture(scope="session")
def send_slowly(slow: Rehearsal) -> Iterator[Sender]:
    """Requests to the slow rehearsal."""
    with ExitStack() as opened, closing(slow.credential()) as credential:
        yield Sender(slow, credential, opened)


@pytest.fixture(scope="session")
def resources(rehearsal: Rehearsal, operator: TokenCredential) -> Iterator[ResourceManagementClient]:
    with ResourceManagementClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        for namespace in ("Microsoft.KeyVault", "Microsoft.ManagedIdentity"):
            client.providers.register(namespace)
        yield client


@pytest.fixture(scope="session")
def roles(rehearsal: Rehearsal, operator: TokenCredential) -> Iterator[AuthorizationManagementClient]:
    with AuthorizationManagementClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        yield client


@pytest.fixture(scope="session")
def key_vault(rehearsal: Rehearsal, operator: TokenCredential) -> Iterator[KeyVaultManagementClient]:
    with KeyVaultManagementClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        yield client


@pytest.fixture
def group(resources: ResourceManagementClient, group_name: str) -> str:
    """A resource group of the test's own."""
    resources.resource_groups.create_or_update(group_name, {"location": "westeurope"})
    return group_name


@pytest.fixture
def vault_name() -> str:
    """A vault's name that no other test uses."""
    return f"kv-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def newcomer(rehearsal: Rehearsal, send: Sender) -> Iterator[Newcomer]:
    client_id, secret, object_id = make_service_principal(send)
    with closing(rehearsal.credential(client_id, secret)) as credential:
        yield Newcomer(object_id, client_id, credential)


@pytest.fixture
def grant(roles: AuthorizationManagementClient) -> Grant:
    def assign(scope: str, role: str, object_id: str) -> None:
        (definition,) = roles.role_definitions.list(scope, filter=f"roleName eq '{role}'")
        body = {"roleDefinitionId": definition.id, "principalId": object_id, "principalType": "ServicePrincipal"}
        roles.role_assignments.create(scope, str(uuid.uuid4()), body)

    return assign
