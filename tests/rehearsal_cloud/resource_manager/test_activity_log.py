"""The activity log, as Azure Monitor answers it: what was written, and how that ended; and faults that come later."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.mgmt.keyvault import KeyVaultManagementClient
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Newcomer, Sender
    from tests.support.rehearsal import Rehearsal

VAULT = "Microsoft.KeyVault/vaults"
TIME = "%Y-%m-%dT%H:%M:%SZ"
TENANT = "22222222-2222-4222-8222-222222222222"


class Log:
    """Reads the events of a resource group since the test began."""

    def __init__(self, rehearsal: Rehearsal, send: Sender, group: str) -> None:
        provider = f"/subscriptions/{rehearsal.subscription}/providers/Microsoft.Insights"
        self.address = f"{provider}/eventtypes/management/values?api-version=2015-04-01"
        now = datetime.now(UTC)
        self.start, self.end = f"{now:{TIME}}", f"{now + timedelta(minutes=10):{TIME}}"
        between = f"eventTimestamp ge '{self.start}' and eventTimestamp le '{self.end}'"
        self.url = f"{self.address}&$filter={between} and resourceGroupName eq '{group}'"
        self.send = send

    def pages(self) -> Iterator[list[Any]]:
        url = self.url
        while url:
            page = self.send("GET", url).json()
            yield page["value"]
            url = page.get("nextLink", "")

    def events(self) -> list[tuple[str, str, Any]]:
        """Operation, status and error of each event about a vault, the oldest first."""
        found = [one for page in self.pages() for one in page if "/vaults" in one["resourceId"]]
        return [
            (
                one["operationName"]["value"],
                one["status"]["value"],
                json.loads(one["properties"].get("statusMessage", "{}")).get("error", {}).get("code"),
            )
            for one in reversed(found)
        ]


@pytest.fixture
def log(rehearsal: Rehearsal, send: Sender, group: str) -> Log:
    return Log(rehearsal, send, group)


@pytest.fixture
def faults(rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    yield rehearsal
    rehearsal.control("DELETE")


def make(key_vault: KeyVaultManagementClient, group: str, name: str) -> None:
    properties = {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True}
    parameters: Any = {"location": "westeurope", "properties": properties}
    key_vault.vaults.begin_create_or_update(group, name, parameters).result()


def test_writes_are_in_it_and_reads_are_not(
    log: Log, key_vault: KeyVaultManagementClient, group: str, vault_name: str
) -> None:
    make(key_vault, group, vault_name)
    key_vault.vaults.get(group, vault_name)
    key_vault.vaults.delete(group, vault_name)
    assert {one for one in log.events() if one[1] != "Accepted"} == {
        (f"{VAULT}/write", "Succeeded", None),
        (f"{VAULT}/delete", "Succeeded", None),
    }


def test_what_was_refused_says_why(
    log: Log, faults: Rehearsal, key_vault: KeyVaultManagementClient, group: str, vault_name: str
) -> None:
    faults.control("POST", {"status": 403, "path": vault_name, "code": "RequestDisallowedByPolicy", "message": "No."})
    with pytest.raises(HttpResponseError):
        make(key_vault, group, vault_name)
    assert log.events() == [(f"{VAULT}/write", "Failed", "RequestDisallowedByPolicy")]


def test_an_operation_can_be_accepted_and_fail_later(
    faults: Rehearsal, resources: ResourceManagementClient, group: str
) -> None:
    fault = {"status": 409, "path": "/managedClusters/", "code": "SkuNotAvailable", "message": "None left."}
    faults.control("POST", {**fault, "later": True})
    resources.providers.register("Microsoft.ContainerService")
    name = f"aks-{uuid.uuid4().hex[:8]}"
    path = f"/subscriptions/{faults.subscription}/resourceGroups/{group}/providers"
    pool = {"name": "one", "mode": "System", "vmSize": "Standard_D4ds_v5", "count": 1}
    properties = {"dnsPrefix": name, "agentPoolProfiles": [pool]}
    wanted: Any = {"location": "westeurope", "identity": {"type": "SystemAssigned"}, "properties": properties}
    place = f"{path}/Microsoft.ContainerService/managedClusters/{name}"
    begun = resources.resources.begin_create_or_update_by_id(place, wanted, api_version="2025-05-01")
    with pytest.raises(HttpResponseError) as failed:
        begun.result()
    assert failed.value.error is not None
    assert failed.value.error.code == "SkuNotAvailable"
    known: Any = resources.resources.get_by_id(place, api_version="2025-05-01")
    assert known.properties["provisioningState"] == "Failed"


def test_who_may_not_read_it_does_not(log: Log, send: Sender, newcomer: Newcomer) -> None:
    assert send("GET", log.url, credential=newcomer.credential).status_code == 403
    assert send("GET", log.url.partition("&$filter")[0]).status_code == 400


def test_many_events_come_in_pages(log: Log, send: Sender, rehearsal: Rehearsal, group: str, vault_name: str) -> None:
    place = f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}/providers/{VAULT}/{vault_name}"
    for _ in range(51):
        assert send("PUT", f"{place}?api-version=2026-02-01", {}).status_code == 400
    first, second = log.pages()
    assert len(first) == 50
    assert len(second) == 1
    assert len({one["eventDataId"] for one in first + second}) == 51


@pytest.mark.parametrize(
    "condition",
    [
        "eventTimestamp ge '{start}'",
        "eventTimestamp ge '{start}' and resourceGroupName eq 'rg'",
        "eventTimestamp le '{end}' and eventTimestamp ge '{start}'",
        "eventTimestamp ge '{start}' and eventTimestamp lt '{end}'",
        "eventTimestamp ge '{start}' and eventTimestamp le '{end}' and category eq 'Administrative'",
        "eventTimestamp ge '{start}' and eventTimestamp le '{end}' or status eq 'Failed'",
        "eventTimestamp ge '{end}' and eventTimestamp le '{start}'",
        "eventTimestamp ge 'yesterday' and eventTimestamp le '{end}'",
        "eventTimestamp ge '2020-01-01T00:00:00Z' and eventTimestamp le '{end}'",
    ],
)
def test_another_form_of_the_filter_is_refused(log: Log, send: Sender, condition: str) -> None:
    refused = send("GET", f"{log.address}&$filter={condition.format(start=log.start, end=log.end)}")
    assert refused.status_code == 400
    assert refused.json()["error"] == {"code": "BadRequest", "message": "$filter searching parameters invalid."}


def test_the_filter_of_az_is_taken(log: Log, send: Sender) -> None:
    condition = f"eventTimestamp ge {log.start} and eventTimestamp le {log.end} and status eq 'Failed'"
    assert send("GET", f"{log.address}&$filter={condition}").status_code == 200
