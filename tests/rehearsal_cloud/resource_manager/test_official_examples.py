"""Microsoft's own examples of requests and answers, sent to the rehearsal.

They are files of https://github.com/Azure/azure-rest-api-specs. What is asked of the rehearsal: the example's request
is accepted, with a status that the example knows, and the answer has every field path of the example's answer (of
lists, the first element), with a value of the same type and the same spelling, if it differs in case alone. Names and
subscription are replaced, and what a request stands on is made by other examples.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal_cloud.home import OPERATOR_OBJECT_ID, SUBSCRIPTION_ID, TENANT_ID
from rehearsal_cloud.resource_manager.providers import providers
from tests.support.azure_requests import Sender, make_service_principal
from tests.support.rehearsal import reset_rehearsal, start_rehearsal
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.core.rest import HttpResponse

pytestmark = pytest.mark.broad

SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION_ID}"
SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
EXAMPLES = REPOSITORY.parent / "shared" / "azure-examples"
KEY_VAULT = "keyvault/2025-05-01"
SECRETS = "keyvault-secrets/2025-07-01"
CLUSTERS = "containerservice/2025-10-01"
REGISTRIES = "containerregistry/2025-11-01"
POSTGRESQL = "postgresql/2025-08-01"
REDIS = "redis/2024-11-01"
ENTERPRISE = "redisenterprise/2025-07-01"
IDENTITIES = "msi/2024-11-30"
STORAGE = "storage/2025-01-01"
ASSIGNMENTS = "authorization/2022-04-01"

STANDS_ON = {
    f"{KEY_VAULT}/getVault.json": [f"{KEY_VAULT}/createVault.json"],
    f"{KEY_VAULT}/deleteVault.json": [f"{KEY_VAULT}/createVault.json"],
    f"{KEY_VAULT}/listDeletedVaults.json": [f"{KEY_VAULT}/createVault.json", f"{KEY_VAULT}/deleteVault.json"],
    f"{REGISTRIES}/RegistryGet.json": [f"{REGISTRIES}/RegistryCreate.json"],
    f"{REGISTRIES}/ImportImageFromPublicRegistry.json": [f"{REGISTRIES}/RegistryCreate.json"],
    "containerregistry/2019-04-01/RegistriesScheduleRun.json": [f"{REGISTRIES}/RegistryCreate.json"],
    f"{CLUSTERS}/ManagedClustersGet.json": [f"{CLUSTERS}/ManagedClustersCreate_Update.json"],
    f"{CLUSTERS}/AgentPoolsCreate_Update.json": [f"{CLUSTERS}/ManagedClustersCreate_Update.json"],
    f"{CLUSTERS}/ManagedClustersListClusterUserCredentials.json": [f"{CLUSTERS}/ManagedClustersCreate_Update.json"],
    "containerservice/2024-08-01/ManagedClustersDelete.json": [f"{CLUSTERS}/ManagedClustersCreate_Update.json"],
    f"{IDENTITIES}/IdentityGet.json": [f"{IDENTITIES}/IdentityCreate.json"],
    f"{IDENTITIES}/FederatedIdentityCredentialCreate.json": [f"{IDENTITIES}/IdentityCreate.json"],
    f"{POSTGRESQL}/ServersGet.json": [f"{POSTGRESQL}/ServerCreate.json"],
    f"{POSTGRESQL}/DatabasesCreate.json": [f"{POSTGRESQL}/ServerCreate.json"],
    f"{POSTGRESQL}/ConfigurationsUpdate.json": [f"{POSTGRESQL}/ServerCreate.json"],
    f"{REDIS}/RedisCacheListKeys.json": [f"{REDIS}/RedisCacheCreate.json"],
    f"{REDIS}/RedisCacheRegenerateKey.json": [f"{REDIS}/RedisCacheCreate.json"],
    f"{ENTERPRISE}/RedisEnterpriseDatabasesCreate.json": [f"{ENTERPRISE}/RedisEnterpriseCreate.json"],
    f"{ENTERPRISE}/RedisEnterpriseDatabasesListKeys.json": [
        f"{ENTERPRISE}/RedisEnterpriseCreate.json",
        f"{ENTERPRISE}/RedisEnterpriseDatabasesCreate.json",
    ],
    f"{ENTERPRISE}/RedisEnterpriseDelete.json": [f"{ENTERPRISE}/RedisEnterpriseCreate.json"],
    f"{ENTERPRISE}/OperationsStatusGet.json": [f"{ENTERPRISE}/RedisEnterpriseCreate.json"],
    f"{STORAGE}/FileSharesPut.json": [f"{STORAGE}/StorageAccountCreate.json"],
    f"{STORAGE}/StorageAccountListKeys.json": [f"{STORAGE}/StorageAccountCreate.json"],
    f"{ASSIGNMENTS}/RoleAssignments_Get.json": [f"{ASSIGNMENTS}/RoleAssignments_CreateById.json"],
    f"{SECRETS}/SetSecret-example.json": [f"{SECRETS}/SetSecret-example.json"],
    f"{SECRETS}/GetSecret-example.json": [f"{SECRETS}/SetSecret-example.json"] * 2,
    f"{SECRETS}/GetSecretVersions-example.json": [f"{SECRETS}/SetSecret-example.json"] * 2,
    f"{SECRETS}/GetDeletedSecret-example.json": [f"{SECRETS}/SetSecret-example.json"] * 2,
}
"""Which examples are sent before, with the same names."""

SUBSTITUTES = {
    # Roles, principals, identities and groups must exist; users cannot be made in the rehearsal.
    "0b5fe924-9a61-425c-96af-cfe6e287ca2d": "{roleDefinitionId}",
    "ce2ce14e-85d7-4629-bdbc-454d0519d987": "{principalId}",
    '"User"': '"ServicePrincipal"',
    # System pools of one core are refused: https://github.com/MicrosoftDocs/azure-dev-docs/issues/216.
    '"Standard_DS1_v2"': '"Standard_DS2_v2"',
    "/subscriptions/your-subscription/": f"/subscriptions/{SUBSCRIPTION_ID}/",
    "/resourceGroups/your-rg/": "/resourceGroups/{resourceGroupName}/",
    "/resourceGroups/rgName1/": "/resourceGroups/{resourceGroupName}/",
    "userAssignedIdentities/your-identity": "userAssignedIdentities/identity1",
    # Azure refuses a password of lowercase letters alone.
    '"examplepassword"': '"Example-password-1"',
    # Azure Cache for Redis Enterprise cannot be created any more; Azure Managed Redis can, without capacity and zones.
    '"name": "EnterpriseFlash_F300", "capacity": 3}, "zones": ["1", "2", "3"]': '"name": "Balanced_B5"}',
    # The only public images in the rehearsal are Airflow's.
    '"library/hello-world"': '"apache/airflow:3.0.2"',
}
"""What stands in an example for something that exists, and what exists here."""

CREATED = {f"{KEY_VAULT}/createVault.json": 201}
"""The status of an example's answer to a creation, where the service creates with another one."""

EXCEPTIONS: dict[str, dict[str, str]] = {
    f"{KEY_VAULT}/createVault.json": {"properties.hsmPoolResourceId": "a vault outside of an HSM pool has none"},
    f"{KEY_VAULT}/getVault.json": {"properties.hsmPoolResourceId": "a vault outside of an HSM pool has none"},
    f"{KEY_VAULT}/listDeletedVaults.json": {
        "nextLink": "the list comes in one page",
        "value[0].properties.purgeProtectionEnabled": "the example that makes the vault does not protect it",
    },
    f"{CLUSTERS}/ManagedClustersCreate_SecurityProfile.json": {
        "properties.diskEncryptionSetID": "the example answers one that its request does not name",
    },
    f"{CLUSTERS}/ManagedClustersGet.json": dict.fromkeys(
        (
            "properties.networkProfile.loadBalancerProfile.outboundIPs",
            "properties.networkProfile.loadBalancerProfile.outboundIPs.publicIPs",
            "properties.networkProfile.loadBalancerProfile.outboundIPs.publicIPs[0].id",
        ),
        "the example that makes the cluster asks for managed outbound addresses instead",
    ),
    f"{POSTGRESQL}/ServerCreate.json": {"tags.VnetServer": "the example's request spells it VNetServer"},
    "resources/2024-11-01/GetProvider.json": dict.fromkeys(
        (
            "resourceTypes[0].locationMappings",
            "resourceTypes[0].locationMappings[0].location",
            "resourceTypes[0].locationMappings[0].type",
            "resourceTypes[0].locationMappings[0].extendedLocations",
        ),
        "there are no edge zones",
    ),
}
"""Field paths that an example's answer has and the rehearsal's has not, and why."""

SPELLED_OTHERWISE = {
    f"{CLUSTERS}/ManagedClustersGet.json": {"type": "`az aks show` prints ManagedClusters, as the other examples"},
    f"{STORAGE}/StorageAccountListKeys.json": {"keys[0].permissions": "`az storage account keys list` prints FULL"},
}
"""Field paths whose values are spelled otherwise in an example's answer, and why."""

JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}


@dataclass(frozen=True)
class Example:
    """One request and the answers that it may get."""

    file: str
    method: str
    template: str
    parameters: dict[str, Any]
    responses: dict[str, Any]

    @property
    def body(self) -> Any:
        return next((value for value in self.parameters.values() if isinstance(value, dict)), None)

    def answer(self, status: int, names: dict[str, str]) -> Any:
        """Return the body that belongs to a status."""
        return self.substituted(self.responses[str(status)].get("body"), names)

    def substituted(self, value: Any, names: dict[str, str]) -> Any:
        """Return a body with what exists here in place of what does not."""
        text = json.dumps(value).replace(self.parameters.get("subscriptionId", SUBSCRIPTION_ID), SUBSCRIPTION_ID)
        for theirs, ours in SUBSTITUTES.items():
            text = text.replace(theirs, re.sub(r"\{(\w+)\}", lambda found: names[found.group(1)], ours))
        return json.loads(text)


def examples() -> dict[str, Example]:
    """Return the examples by file."""
    index = EXAMPLES / "INDEX.md"
    lines = index.read_text().splitlines() if index.exists() else []
    rows = [found.groups() for line in lines if (found := re.match(r"\| (\S+\.json) \| (\w+) `([^`]+)`", line))]
    read = ((file, method, template, json.loads((EXAMPLES / file).read_text())) for file, method, template in rows)
    return {
        file: Example(file, method, template, text["parameters"], text["responses"])
        for file, method, template, text in read
    }


ALL = examples()
needs_examples = pytest.mark.skipif(not ALL, reason=f"needs the official examples in {EXAMPLES}")


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every field in a body; lists are stood for by their first element."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}.{key}".lstrip(".")
            yield from paths(inner, f"{path}.{key}")
    elif isinstance(value, list) and value:
        yield from paths(value[0], f"{path}[0]")


def unlike(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every value of another type, or that differs in case alone; null is of any type."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in wanted.keys() & found.keys():
            yield from unlike(wanted[key], found[key], f"{path}.{key}".lstrip("."))
    elif isinstance(wanted, list) and isinstance(found, list):
        for first, second in zip(wanted[:1], found, strict=False):
            yield from unlike(first, second, f"{path}[0]")
    elif isinstance(wanted, str) and isinstance(found, str):
        if wanted != found and wanted.lower() == found.lower():
            yield path
    elif wanted is not None and found is not None and JSON_TYPES.get(type(wanted)) != JSON_TYPES.get(type(found)):
        yield path


class World:
    """A rehearsal that the examples are sent to."""

    def __init__(self, send: Sender) -> None:
        self._send = send
        for provider in providers().values():
            send("POST", f"{SUBSCRIPTION}/providers/{provider.namespace}/register?api-version=2025-04-01")

    def names(self, example: Example) -> dict[str, str]:
        """Return fresh names for all that an example may name, and make what no example makes."""
        fresh = uuid.uuid4().hex[:10]
        assignment = str(uuid.uuid4())
        named = ("registryName", "resourceName", "vaultName", "serverName", "name", "clusterName", "accountName")
        names = dict.fromkeys(named, f"name{fresh}") | {
            "subscriptionId": SUBSCRIPTION_ID,
            "resourceGroupName": f"group-{fresh}",
            "scope": SUBSCRIPTION[1:],
            "roleAssignmentName": assignment,
            "roleAssignmentId": f"{SUBSCRIPTION[1:]}/providers/Microsoft.Authorization/roleAssignments/{assignment}",
            "roleDefinitionId": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
            "principalId": make_service_principal(self._send)[2],
            "resourceProviderNamespace": "Microsoft.KeyVault",
            "vaultBaseUrl": f"https://name{fresh}.vault.azure.net",
            "secret-name": "name",
            "location": "westus",
        }
        if not example.file.endswith("/CreateResourceGroup.json"):
            group = f"{SUBSCRIPTION}/resourceGroups/{names['resourceGroupName']}"
            self._made(f"{group}?api-version=2025-04-01", {"location": "westus"})
            identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/identity1"
            self._made(f"{identity}?api-version=2024-11-30", {"location": "westus"})
        return names

    def _made(self, url: str, body: Any) -> None:
        answer = self._send("PUT", url, body)
        assert answer.status_code in (200, 201), answer.text()
        self.settle(answer)

    def make_vault(self, names: dict[str, str]) -> None:
        """Make the vault that a secret's example is sent to."""
        group = f"{SUBSCRIPTION}/resourceGroups/{names['resourceGroupName']}"
        vault = f"{group}/providers/Microsoft.KeyVault/vaults/{names['vaultName']}"
        properties = {"tenantId": TENANT_ID, "sku": {"family": "A", "name": "standard"}}
        self._made(f"{vault}?api-version=2026-02-01", {"location": "westus", "properties": properties})
        roles = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
        granted = {"roleDefinitionId": f"{roles}/{SECRETS_OFFICER}", "principalId": OPERATOR_OBJECT_ID}
        assignment = f"{vault}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=2022-04-01"
        self._made(assignment, {"properties": granted})

    def send(self, example: Example, names: dict[str, str]) -> HttpResponse:
        """Send the example's request, wait for the operation that it starts, and return the first answer."""
        given = {**example.parameters, **{key: value for key, value in names.items() if key in example.parameters}}
        url = re.sub(r"\{([^}]+)\}", lambda found: str(given[found.group(1)]), example.template)
        query = {
            key: value
            for key, value in given.items()
            if not isinstance(value, dict) and f"{{{key}}}" not in example.template
        }
        url = f"{url}?{'&'.join(f'{key}={value}' for key, value in query.items())}"
        answer = self._send(example.method, url, example.substituted(example.body, names), scope=_scope(url))
        self.settle(answer)
        if example.method == "PUT" and "/secrets/" in url:
            names["secret-version"] = answer.json()["id"].rpartition("/")[2]
        if poll := answer.headers.get("Azure-AsyncOperation"):
            names["operationId"] = poll.partition("?")[0].rpartition("/")[2]
        return answer

    def read(self, answer: HttpResponse) -> Any:
        """Return what is there after a request that was answered with no body."""
        return self._send("GET", str(answer.request.url)).json() if answer.request.method == "PUT" else None

    def delete_secret(self, names: dict[str, str]) -> None:
        """Delete the secret of an example: no example does."""
        url = f"{names['vaultBaseUrl']}/secrets/{names['secret-name']}?api-version=2025-07-01"
        assert self._send("DELETE", url, scope=_scope(url)).status_code == 200

    def settle(self, answer: HttpResponse) -> None:
        """Wait until the operation that the answer started, if any, has ended well."""
        url, poll = str(answer.request.url), answer.headers.get("Azure-AsyncOperation")
        deadline = time.monotonic() + 120
        begun = answer.status_code in (201, 202) or "RegisteringDns" in answer.text()
        while begun and time.monotonic() < deadline:
            found = self._send("GET", poll or url).json()
            state = found["status"] if poll else found.get("properties", {}).get("provisioningState", "Succeeded")
            if state == "Succeeded":
                return
            assert state not in ("Failed", "Canceled"), found
            time.sleep(0.05)
        assert not begun, f"{url} did not end"


def _scope(url: str) -> str | None:
    return "https://vault.azure.net/.default" if ".vault.azure.net/" in url else None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("examples") / "home"
    started = start_rehearsal(home, "--time-scale", "0.00005", "--classic-redis")
    with ExitStack() as opened, closing(started.credential()) as credential:
        yield World(Sender(started, credential, opened))
    reset_rehearsal(home)


@needs_examples
@pytest.mark.parametrize("file", list(ALL))
def test_the_answers_have_every_field_of_the_48_official_examples(world: World, file: str) -> None:
    example = ALL[file]
    names = world.names(example)
    if "vaultBaseUrl" in example.parameters:
        world.make_vault(names)
    for earlier in STANDS_ON.get(file, []):
        answer = world.send(ALL[earlier], names)
        assert answer.status_code < 300, answer.text()
    if "{secret-name}" in example.template and "/deletedsecrets/" in example.template:
        world.delete_secret(names)
    answer = world.send(example, names)
    assert str(answer.status_code) in example.responses, f"{answer.status_code} {answer.text()}"
    status = CREATED.get(file, answer.status_code)
    wanted, found = example.answer(status, names), answer.json() if answer.content else None
    if found is None and "200" in example.responses:  # the answer to an accepted PUT is what is there in the end
        wanted, found = example.answer(200, names), world.read(answer)
    lacking = set(paths(wanted)) - set(paths(found))
    assert lacking == set(EXCEPTIONS.get(file, {}))
    assert set(unlike(wanted, found)) == set(SPELLED_OTHERWISE.get(file, {}))


@needs_examples
def test_there_are_as_many_examples_as_the_name_says() -> None:
    assert len(ALL) == 48
    assert {*STANDS_ON, *CREATED, *EXCEPTIONS, *SPELLED_OTHERWISE} <= set(ALL)
