"""Every request that the `az` commands of the practice make is answered with a status that they can go on from."""

from __future__ import annotations

import re
import time
import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal_cloud.home import OPERATOR_CLIENT_ID, OPERATOR_OBJECT_ID, SUBSCRIPTION_ID, TENANT_ID
from tests.support.azure_requests import GRAPH, Sender, make_service_principal
from tests.support.rehearsal import Rehearsal, reset_rehearsal, start_rehearsal
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.core.rest import HttpResponse

pytestmark = pytest.mark.broad

TABLE = REPOSITORY.parent / "shared" / "facts" / "azure-wire.md"
SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION_ID}"
GROUP = "standing"
NAME = f"standing{uuid.uuid4().hex[:8]}"
ROLES = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
SECRETS_OFFICER = f"{ROLES}/b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
READER = f"{ROLES}/acdd72a7-3385-48ef-bd42-f606fba81ae7"
HERE = {"location": "westeurope"}
POOL = {"mode": "System", "count": 1, "vmSize": "Standard_D4s_v5"}
SOURCE = {"registryUri": "docker.io", "sourceImage": "apache/airflow:3.1.0"}

BODIES: dict[str, dict[str, Any]] = {
    "userAssignedIdentities": HERE,
    "federatedIdentityCredentials": {
        "properties": {"issuer": "https://issuer.example/", "subject": "s", "audiences": ["api://AzureADTokenExchange"]}
    },
    "vaults": HERE | {"properties": {"tenantId": TENANT_ID, "sku": {"family": "A", "name": "standard"}}},
    "registries": HERE | {"sku": {"name": "Premium"}},
    "storageAccounts": HERE | {"kind": "StorageV2", "sku": {"name": "Standard_LRS"}},
    "redis": HERE | {"properties": {"sku": {"name": "Basic", "family": "C", "capacity": 0}}},
    "redisEnterprise": HERE | {"sku": {"name": "Balanced_B0"}, "properties": {"publicNetworkAccess": "Enabled"}},
    "managedClusters": HERE
    | {
        "identity": {"type": "SystemAssigned"},
        "properties": {"dnsPrefix": "standing", "agentPoolProfiles": [{"name": "system", **POOL}]},
    },
    "agentPools": {"properties": POOL},
    "flexibleServers": HERE
    | {
        "sku": {"name": "Standard_B1ms", "tier": "Burstable"},
        "properties": {"authConfig": {"activeDirectoryAuth": "Enabled", "passwordAuth": "Disabled"}},
    },
    "databases": {"properties": {"charset": "UTF8"}},
    "firewallRules": {"properties": {"startIpAddress": "127.0.0.1", "endIpAddress": "127.0.0.1"}},
    "administrators": {
        "properties": {"principalName": "newcomer", "principalType": "ServicePrincipal", "tenantId": TENANT_ID}
    },
    "configurations": {"properties": {"value": "8192", "source": "user-override"}},
    "importImage": {"source": SOURCE, "targetTags": ["airflow:again"]},
    "checkNameAvailability": {"name": "nobodyhasthis"},
    "resourcegroups": HERE,
    "secrets": {"value": "made-up"},
}
STANDING = (
    "Microsoft.ManagedIdentity/userAssignedIdentities",
    "Microsoft.KeyVault/vaults",
    "Microsoft.ContainerRegistry/registries",
    "Microsoft.Cache/redis",
    "Microsoft.ContainerService/managedClusters",
    "Microsoft.DBforPostgreSQL/flexibleServers",
    "Microsoft.DBforPostgreSQL/flexibleServers/{name}/databases",
    "Microsoft.DBforPostgreSQL/flexibleServers/{name}/firewallRules",
)
CHILDREN = {"agentPools": "system", "configurations": "work_mem"}
"""What children are called that come with their parents."""
EXCEPTIONS = {
    # https://learn.microsoft.com/rest/api/storagerp/storage-accounts/create knows 200 and 202 only.
    "arm PUT {S}/resourceGroups/{rg}/providers/Microsoft.Storage/storageAccounts/{name}": [202],
}
"""Requests that are answered otherwise than the table says, as Azure does."""
FILTERS = {
    "principalId": OPERATOR_OBJECT_ID,
    "roleName": "AcrPull",
    "resourceType": "Microsoft.ContainerRegistry/registries",
    "name": NAME,
    "displayName": GROUP,
    "mailNickname": GROUP,
    "c:c": OPERATOR_CLIENT_ID,
}


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    service: str
    method: str
    path: str
    query: str
    version: str
    statuses: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.service} {self.method} {self.path}"


def rows() -> list[Row]:
    if not TABLE.exists():
        return []
    section = TABLE.read_text().partition("## Requests that the original practice's `az` commands make")[2]
    lines = [line.split("|")[1:-1] for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line] for line in lines[1:]]
    return [
        Row(service, method, path.strip("`"), query, version, tuple(map(int, statuses.split())))
        for service, method, path, query, version, statuses, _ in cells
    ]


class World:
    """A tenant of old, with one resource of each type standing in it."""

    def __init__(self, rehearsal: Rehearsal, send: Sender) -> None:
        self.rehearsal, self.send = rehearsal, send
        self.operations: dict[str, str] = {}
        self.put(f"{SUBSCRIPTION}/resourcegroups/{GROUP}", HERE)
        for kind in STANDING:
            namespace = kind.partition("/")[0]
            self.register(namespace)
            path = f"{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{kind.replace('{name}', NAME)}/{NAME}"
            self.note(namespace, self.put(path, BODIES[kind.rpartition("/")[2]]))
        self.register("Microsoft.Storage")
        registry = f"{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.ContainerRegistry/registries/{NAME}"
        body = {"source": SOURCE, "targetTags": ["airflow:standing"]}
        imported = send("POST", f"{registry}/importImage?api-version=2025-11-01", body)
        self.note("Microsoft.ContainerRegistry", imported)
        vault = f"{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.KeyVault/vaults/{NAME}"
        officer = {"properties": {"roleDefinitionId": SECRETS_OFFICER, "principalId": OPERATOR_OBJECT_ID}}
        self.put(f"{vault}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}", officer, "2022-04-01")
        secret = f"https://{NAME}.vault.azure.net/secrets/{NAME}?api-version=7.4"
        assert send("PUT", secret, BODIES["secrets"], scope="https://vault.azure.net/.default").status_code == 200
        self.put(f"{SUBSCRIPTION}/resourcegroups/leaving", HERE)
        leaving = send("DELETE", f"{SUBSCRIPTION}/resourcegroups/leaving?api-version=2024-11-01")
        self.operations["group"] = leaving.headers["Location"].partition("?")[0].rpartition("/")[2]
        self.newcomer = make_service_principal(send)[2]
        group = {"displayName": GROUP, "mailNickname": GROUP, "mailEnabled": False, "securityEnabled": True}
        self.directory_group = group
        self.group_id = send("POST", f"{GRAPH}/groups", group).json()["id"]

    def register(self, namespace: str) -> None:
        path = f"{SUBSCRIPTION}/providers/{namespace}/register?api-version=2025-04-01"
        while self.send("POST", path).json()["registrationState"] != "Registered":
            time.sleep(0.02)

    def note(self, namespace: str, answer: HttpResponse) -> None:
        """Keep the ID of an operation of the provider, so that it can be asked for."""
        if poll := answer.headers.get("Azure-AsyncOperation"):
            self.operations[namespace] = poll.partition("?")[0].rpartition("/")[2]

    def put(self, path: str, body: dict[str, Any], version: str = "2026-02-01") -> HttpResponse:
        answer = self.send("PUT", f"{path}?api-version={version}", body)
        assert answer.status_code in (200, 201, 202), answer.text()
        self.settle(answer)
        return answer

    def settle(self, answer: HttpResponse) -> None:
        """Wait until the operation that the answer started, if any, has ended well."""
        poll, deadline = answer.headers.get("Azure-AsyncOperation"), time.monotonic() + 60
        url = poll or str(answer.request.url)
        while answer.status_code in (201, 202) and answer.request.method == "PUT" and time.monotonic() < deadline:
            found = self.send("GET", url).json()
            state = found["status"] if poll else found.get("properties", {}).get("provisioningState", "Succeeded")
            if state == "Succeeded":
                return
            assert state != "Failed", found
            time.sleep(0.02)

    def names(self, row: Row) -> list[str]:
        """The values of the path's placeholders: what stands there, and last what a PUT makes or a DELETE takes."""
        found = []
        for before, word in re.findall(r"([^/]*)/?\{(\w+)\}", row.path):
            values = {"S": SUBSCRIPTION, "rg": GROUP, "loc": "westeurope", "tenant": TENANT_ID}
            if word == "guid" and "operation" in before.lower():
                provider = re.search(r"Microsoft\.\w+", row.path)
                found.append(self.operations[provider.group() if provider else "group"])
            elif word == "guid":
                found.append(self.group_id)
            else:
                found.append(values.get(word) or CHILDREN.get(before, NAME))
        if row.path.endswith("}"):
            kind = row.path.split("/")[-2]
            if row.method == "DELETE":
                self.put(f"{SUBSCRIPTION}/resourcegroups/doomed", HERE)
                found[-1] = "doomed"
            elif row.method == "PUT":
                fresh = {"roleAssignments": str(uuid.uuid4()), "administrators": self.newcomer}
                found[-1] = fresh.get(kind, f"f{uuid.uuid4().hex[:10]}")
        return found

    def body(self, row: Row) -> Any:
        if row.method not in ("PUT", "POST", "PATCH"):
            return None
        kind = next(word for word in reversed(row.path.split("/")) if "{" not in word)
        graph = {
            "getByIds": {"ids": [OPERATOR_OBJECT_ID]},
            "groups": self.directory_group,
            "$ref": {"@odata.id": f"{GRAPH}/directoryObjects/{self.newcomer}"},
            "roleAssignments": {"properties": {"roleDefinitionId": READER, "principalId": self.newcomer}},
        }
        return graph.get(kind) or BODIES.get(kind)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("az") / "home"
    started = start_rehearsal(home, "--time-scale", "0.00005", "--classic-redis")
    with ExitStack() as opened, closing(started.credential()) as credential:
        yield World(started, Sender(started, credential, opened))
    reset_rehearsal(home)


@pytest.mark.skipif(not TABLE.exists(), reason="the table of requests is not part of the repository")
@pytest.mark.parametrize("row", rows(), ids=str)
def test_az_is_answered(world: World, row: Row) -> None:
    values = iter(world.names(row))
    path = re.sub(r"\{\w+\}", lambda _: next(values), row.path)
    if row.path.endswith("/token"):  # the credential of every other request has sent it
        asked = (row.method, "login.microsoftonline.com", path)
        sent = [one for one in world.rehearsal.requests() if (one["method"], one["host"], one["path"]) == asked]
        assert {one["status"] for one in sent} == set(row.statuses)
        return
    query = re.sub(r"([\w:]+) eq '…'", lambda found: f"{found[1]} eq '{FILTERS[found[1]]}'", row.query)
    words = [*([f"api-version={row.version}"] if row.version else []), *([query] if query else [])]
    host = {
        "arm": "https://management.azure.com",
        "graph": "https://graph.microsoft.com",
        "login": "https://login.microsoftonline.com",
        "{vault}.vault": f"https://{NAME}.vault.azure.net",
    }[row.service]
    scope = {"login": "", "{vault}.vault": "https://vault.azure.net/.default"}.get(row.service)
    answer = world.send(row.method, f"{host}{path}?{'&'.join(words)}", world.body(row), scope=scope)
    # With everything in place that a request stands on, the refusals that az met as well are no answer.
    wanted = EXCEPTIONS.get(str(row)) or [one for one in row.statuses if one < 400] or list(row.statuses)
    assert answer.status_code in wanted, answer.text()
    world.settle(answer)
    if row.query:
        assert answer.json()["value"], "the filter finds nothing"


@pytest.mark.skipif(not TABLE.exists(), reason="the table of requests is not part of the repository")
def test_the_table_is_read_whole() -> None:
    assert {row.service for row in rows()} == {"arm", "graph", "login", "{vault}.vault"}
    assert set(EXCEPTIONS) <= set(map(str, rows()))
