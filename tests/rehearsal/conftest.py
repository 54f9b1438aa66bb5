"""What the tests of the rehearsal cloud share: the operator's clients, plain requests, a group, and a newcomer."""

from __future__ import annotations

import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from azure.core import PipelineClient
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, ProxyPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.keyvault import KeyVaultManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.core.credentials import TokenCredential

    from tests.conftest import Rehearsal

GRAPH = "https://graph.microsoft.com/v1.0"
MANAGEMENT = "https://management.azure.com"
_SCOPES = {
    "graph.microsoft.com": "https://graph.microsoft.com/.default",
    "management.azure.com": "https://management.azure.com/.default",
}


@pytest.fixture(scope="session")
def operator(rehearsal: Rehearsal) -> Iterator[TokenCredential]:
    """The operator's credential, with its tokens."""
    with closing(rehearsal.credential()) as credential:
        yield credential


class Send(Protocol):
    """Sends one request, once, and returns the answer whatever it is; without `scope`, the host's own."""

    def __call__(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        credential: TokenCredential | None = None,
        scope: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> HttpResponse: ...


@pytest.fixture(scope="session")
def send(rehearsal: Rehearsal, operator: TokenCredential) -> Iterator[Send]:
    """Requests as the operator, or as another; a path is one of Resource Manager's."""
    with ExitStack() as opened:
        clients: dict[tuple[int, str], PipelineClient[HttpRequest, HttpResponse]] = {}

        def client(credential: TokenCredential, scope: str) -> PipelineClient[HttpRequest, HttpResponse]:
            key = (id(credential), scope)
            if key not in clients:
                policies = [ProxyPolicy(proxies=rehearsal.transport["proxies"])]
                if scope:
                    policies.append(BearerTokenCredentialPolicy(credential, scope))
                verify = rehearsal.connection["REQUESTS_CA_BUNDLE"]
                clients[key] = opened.enter_context(PipelineClient("", policies=policies, connection_verify=verify))
            return clients[key]

        def send(
            method: str,
            url: str,
            body: Any = None,
            *,
            credential: TokenCredential | None = None,
            scope: str | None = None,
            headers: dict[str, str] | None = None,
        ) -> HttpResponse:
            url = url if url.startswith("https://") else MANAGEMENT + url
            if scope is None:
                scope = _SCOPES[url.split("/")[2]]
            request = HttpRequest(method, url, json=body, headers=headers)
            return client(credential or operator, scope).send_request(request)

        yield send


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


@dataclass(frozen=True)
class Newcomer:
    """A service principal that may do nothing yet."""

    object_id: str
    client_id: str
    credential: TokenCredential


@pytest.fixture
def newcomer(rehearsal: Rehearsal, send: Send) -> Iterator[Newcomer]:
    application = send("POST", f"{GRAPH}/applications", {"displayName": "newcomer"}).json()
    secret = send("POST", f"{GRAPH}/applications/{application['id']}/addPassword", {}).json()["secretText"]
    made = send("POST", f"{GRAPH}/servicePrincipals", {"appId": application["appId"]}).json()
    with closing(rehearsal.credential(application["appId"], secret)) as credential:
        yield Newcomer(made["id"], application["appId"], credential)


class Grant(Protocol):
    """Assigns a built-in role, by name, at a scope."""

    def __call__(self, scope: str, role: str, object_id: str) -> None: ...


@pytest.fixture
def grant(roles: AuthorizationManagementClient) -> Grant:
    def assign(scope: str, role: str, object_id: str) -> None:
        (definition,) = roles.role_definitions.list(scope, filter=f"roleName eq '{role}'")
        body = {"roleDefinitionId": definition.id, "principalId": object_id, "principalType": "ServicePrincipal"}
        roles.role_assignments.create(scope, str(uuid.uuid4()), body)

    return assign
