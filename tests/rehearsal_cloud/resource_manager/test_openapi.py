"""What the library's clients send and what the rehearsal answers, held against Microsoft's OpenAPI files."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.openapi import FOLDER, capture, check, exchanges, operation
from tests.support.rehearsal import reset_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.broad,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"needs Microsoft's OpenAPI files and their check in {FOLDER}"),
]

UPDATED = {
    "PUT microsoft.cache/redisenterprise",
    "PUT microsoft.cache/redisenterprise/databases",
    "PUT microsoft.containerregistry/registries",
    "PUT microsoft.containerservice/managedclusters",
    "PUT microsoft.containerservice/managedclusters/maintenanceconfigurations",
    "PUT microsoft.dbforpostgresql/flexibleservers/administrators",
    "PUT microsoft.dbforpostgresql/flexibleservers/firewallrules",
    "PUT microsoft.keyvault/vaults",
    "PUT microsoft.managedidentity/userassignedidentities",
    "PUT microsoft.managedidentity/userassignedidentities/federatedidentitycredentials",
    "PUT subscriptions/resourcegroups",
    "PUT vault/secrets",
}
"""What creates and updates."""
SENT = UPDATED | {
    # a preflight
    "POST microsoft.containerregistry/checknameavailability",
    "POST microsoft.policyinsights/checkpolicyrestrictions",
    # a deployment
    "POST microsoft.keyvault/register",
    "PUT microsoft.authorization/roleassignments",
    "PUT microsoft.dbforpostgresql/flexibleservers",
    "POST microsoft.containerregistry/registries/importimage",
    "POST microsoft.containerservice/managedclusters/listclusterusercredential",
    "GET microsoft.network/publicipaddresses",
    "GET registry/_manifests",
    # an update
    "PATCH microsoft.dbforpostgresql/flexibleservers",
    "POST vault/deletedsecrets/recover",
    # a build
    "POST microsoft.containerregistry/registries/listbuildsourceuploadurl",
    "POST microsoft.containerregistry/registries/schedulerun",
    "GET microsoft.containerregistry/registries/runs",
    "POST microsoft.containerregistry/registries/runs/listlogsasurl",
    # a diagnosis
    "GET microsoft.insights/eventtypes/values",
    "GET microsoft.compute/locations/usages",
    # a rotation
    "POST microsoft.cache/redisenterprise/databases/listkeys",
    "POST microsoft.cache/redisenterprise/databases/regeneratekey",
    "POST microsoft.cache/redis/regeneratekey",
    # a teardown
    "GET subscriptions/resourcegroups/resources",
    "DELETE microsoft.cache/redisenterprise",
    "DELETE microsoft.containerservice/managedclusters",
    "DELETE microsoft.dbforpostgresql/flexibleservers",
    "DELETE microsoft.keyvault/vaults",
    "DELETE subscriptions/resourcegroups",
    "GET microsoft.keyvault/locations/deletedvaults",
    "POST microsoft.keyvault/locations/deletedvaults/purge",
}

RECORDED = "so the service answers in Azure/azure-cli's recording"
RIGHT = {
    r"Authorization/RoleAssignments_\w+ \$\S*\.properties\.\w+ null": f"{RECORDED} test_role_assignment_no_graph.yaml",
    r"ContainerRegistry/Registries_\w+ \$\.properties\.status null": "so it is in the example RegistryGet.json",
    r"DBforPostgreSQL/Servers_Get \$\.properties\.storage\.type is not in the enum": "so it is in ServersGet.json",
    r"ContainerService/ManagedClusters_\w+ \$\.\S*\.backendPoolType differs in case": "so `az aks show` prints it",
    r"ContainerRegistry/\w+ \$\.properties\.platform\.os differs in case": "so `az acr build` prints it",
    r"\S+ headers\.retry-after": "it has whole seconds, and the waits of this test are shorter",
}
"""What is not as the files say and right nevertheless, and why."""


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """The exchanges of an environment's life with Azure."""
    folder = tmp_path_factory.mktemp("openapi")
    home = folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(home))
        start_rehearsal(home, "--time-scale", "0.00005", "--classic-redis")
        try:
            capture(folder / "capture.jsonl", folder, "-m", "tests.support.life_cycle", str(folder))
            yield exchanges(folder / "capture.jsonl")
        finally:
            reset_rehearsal(home)


def test_all_that_is_to_be_checked_was_captured(captured: list[dict[str, Any]]) -> None:
    counts = Counter(map(operation, captured))
    assert not SENT - counts.keys()
    assert not {name for name in UPDATED if counts[name] < 2}


@pytest.mark.filterwarnings("default:The OpenAPI excerpts lack:UserWarning")
def test_requests_and_answers_are_as_the_openapi_files_say(captured: list[dict[str, Any]], tmp_path: Path) -> None:
    findings = check(captured, tmp_path)
    lacking = "\n".join(line.removeprefix("hard undescribed ") for line in findings.undescribed)
    warnings.warn(f"The OpenAPI excerpts lack:\n{lacking}", UserWarning, stacklevel=1)
    assert findings.hard == []
    assert findings.operations > 40


def test_other_deviations_from_the_openapi_files_are_right(captured: list[dict[str, Any]], tmp_path: Path) -> None:
    soft = check(captured, tmp_path).soft
    assert [line for line in soft if not any(re.match(rf"soft \w+ {pattern}", line) for pattern in RIGHT)] == []
    assert [pattern for pattern in RIGHT if not any(re.match(rf"soft \w+ {pattern}", line) for line in soft)] == []


def test_a_property_that_the_service_decides_is_found_in_a_request(
    captured: list[dict[str, Any]], tmp_path: Path
) -> None:
    found = check([*captured, planted(captured, "PUT microsoft.keyvault/vaults", "request_body")], tmp_path)
    assert [line.split()[:4] for line in found.hard] == [
        ["hard", "request", "KeyVault/Vaults_CreateOrUpdate", "$.properties.hsmPoolResourceId"]
    ]


def test_a_property_that_the_file_has_not_is_found_in_an_answer(captured: list[dict[str, Any]], tmp_path: Path) -> None:
    found = check([*captured, planted(captured, "GET subscriptions/resourcegroups", "response_body")], tmp_path)
    assert [line.split()[:4] for line in found.hard] == [
        ["hard", "response", "ResourceGroups_Get", "$.properties.hsmPoolResourceId"]
    ]


def test_another_api_version_is_found(captured: list[dict[str, Any]], tmp_path: Path) -> None:
    exchange = next(each for each in captured if operation(each) == "PUT microsoft.keyvault/vaults")
    url = re.sub(r"api-version=[\d-]+", "api-version=2016-10-01", exchange["url"])
    found = check([*captured, {**exchange, "url": url}], tmp_path)
    assert "2016-10-01" in " ".join(found.undescribed)


def planted(captured: list[dict[str, Any]], name: str, body: str) -> dict[str, Any]:
    """An exchange of an operation, once more, with a property too many in one of its bodies."""
    exchange = next(each for each in captured if operation(each) == name and each["status"] == 200)
    document = json.loads(exchange[body])
    document["properties"]["hsmPoolResourceId"] = "/subscriptions/somebody/pools/elses"
    return {**exchange, body: json.dumps(document)}
