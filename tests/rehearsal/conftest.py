"""What the tests of the rehearsal cloud share: the operator's clients, plain requests, a group, and a newcomer."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import pytest
from azure.core import PipelineClient
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, ProxyPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.keyvault import KeyVaultManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient

from tests.conftest import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.core.credentials import TokenCredential

GRAPH = "https://graph.microsoft.com/v1.0"
MANAGEMENT = "https://management.azure.com"
_SCOPES = {
    "graph.microsoft.com": "https://graph.microsoft.com/.default",
    "management.azure.com": "https://management.azure.com/.default",
}


def kill_rehearsal(home: Path) -> None:
    """Kill the daemon as `kill -9` does, and wait until it is dead, reaped or not."""
    daemon = psutil.Process(int((home / "rehearsal.pid").read_text()))
    daemon.kill()
    deadline = time.monotonic() + 60
    with suppress(psutil.NoSuchProcess):
        while daemon.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def processes_of(home: Path) -> list[str]:
    """The processes that were started with this home, or work in it, wherever its folders really stand."""
    places = [home, *(link.readlink() for link in home.glob("services/*/*") if link.is_symlink())]
    found = []
    for process in psutil.process_iter():
        try:
            words, folder = process.cmdline(), process.cwd()
            started = "rehearsal_cloud" in words and str(home) in words
            if started or any(Path(folder).is_relative_to(one) for one in places):
                found.append(f"{process.pid} {process.name()}")
        except psutil.Error:
            continue
    return found


def reset_rehearsal(home: Path) -> None:
    """Reset a rehearsal of a test's own, and prove that nothing is left of it, here or elsewhere."""
    places = [link.readlink() for link in home.glob("services/*/*") if link.is_symlink()]
    run_rehearsal(home, "reset")
    assert processes_of(home) == []
    assert [one for one in (home, *places) if one.exists()] == []


@pytest.fixture(scope="session")
def operator(rehearsal: Rehearsal) -> Iterator[TokenCredential]:
    """The operator's credential, with its tokens."""
    with closing(rehearsal.credential()) as credential:
        yield credential


class Sender:
    """Sends requests, once each, and returns the answer whatever it is."""

    def __init__(self, rehearsal: Rehearsal, credential: TokenCredential, opened: ExitStack) -> None:
        self._rehearsal = rehearsal
        self._credential = credential
        self._opened = opened
        self._clients: dict[tuple[int, str], PipelineClient[HttpRequest, HttpResponse]] = {}

    def __call__(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        credential: TokenCredential | None = None,
        scope: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> HttpResponse:
        """Send as the operator, or as another; a path is one of Resource Manager's. An empty `scope` sends no token."""
        url = url if url.startswith("https://") else MANAGEMENT + url
        scope = _SCOPES[url.split("/")[2]] if scope is None else scope
        client = self._client(credential or self._credential, scope)
        return client.send_request(HttpRequest(method, url, json=body, headers=headers))

    def _client(self, credential: TokenCredential, scope: str) -> PipelineClient[HttpRequest, HttpResponse]:
        key = (id(credential), scope)
        if key not in self._clients:
            transport = self._rehearsal.transport
            policies: list[Any] = [ProxyPolicy(proxies=transport["proxies"])]
            if scope:
                policies.append(BearerTokenCredentialPolicy(credential, scope))
            made = PipelineClient("", policies=policies, connection_verify=transport["connection_verify"])
            self._clients[key] = self._opened.enter_context(made)
        return self._clients[key]


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


@dataclass(frozen=True)
class Newcomer:
    """A service principal that may do nothing yet."""

    object_id: str
    client_id: str
    credential: TokenCredential


@pytest.fixture
def newcomer(rehearsal: Rehearsal, send: Sender) -> Iterator[Newcomer]:
    client_id, secret, object_id = make_service_principal(send)
    with closing(rehearsal.credential(client_id, secret)) as credential:
        yield Newcomer(object_id, client_id, credential)


def make_service_principal(send: Sender) -> tuple[str, str, str]:
    """Return client ID, secret and object ID of a service principal made through Graph."""
    application = send("POST", f"{GRAPH}/applications", {"displayName": "newcomer"}).json()
    secret = send("POST", f"{GRAPH}/applications/{application['id']}/addPassword", {}).json()["secretText"]
    made = send("POST", f"{GRAPH}/servicePrincipals", {"appId": application["appId"]}).json()
    return application["appId"], secret, made["id"]


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
