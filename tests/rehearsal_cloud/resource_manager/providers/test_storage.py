"""Storage accounts and their shares: no SDK of Microsoft.Storage is at hand, so through plain requests."""

from __future__ import annotations

import base64
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from azure.core.rest import HttpResponse
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Grant, Newcomer, Sender
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

API_VERSION = "?api-version=2025-01-01"


@pytest.fixture(scope="module")
def subscription(rehearsal: Rehearsal, resources: ResourceManagementClient) -> str:
    resources.providers.register("Microsoft.Storage")
    return f"/subscriptions/{rehearsal.subscription}"


@pytest.fixture
def name() -> str:
    return f"st{uuid.uuid4().hex[:10]}"


@pytest.fixture
def path(subscription: str, group: str, name: str) -> str:
    return f"{subscription}/resourceGroups/{group}/providers/Microsoft.Storage/storageAccounts/{name}"


def wanted(**properties: Any) -> dict[str, Any]:
    return {
        "location": "westeurope",
        "kind": "StorageV2",
        "sku": {"name": "Standard_ZRS"},
        "properties": properties,
    }


def finished(send: Sender, accepted: HttpResponse) -> HttpResponse:
    """The answer at the end of an operation's Location."""
    deadline = time.monotonic() + 60
    answer = accepted
    while answer.status_code == 202:
        assert int(answer.headers["x-ms-retry-after-ms"]) >= 50
        assert time.monotonic() < deadline
        time.sleep(0.05)
        answer = send("GET", answer.headers["Location"])
    return answer


@pytest.fixture
def account(send: Sender, path: str) -> dict[str, Any]:
    accepted = send("PUT", path + API_VERSION, wanted())
    assert (accepted.status_code, accepted.content) == (202, b"")
    made: dict[str, Any] = finished(send, accepted).json()
    return made


def test_an_account_is_made_in_the_background(account: dict[str, Any], send: Sender, path: str, name: str) -> None:
    assert account["properties"]["provisioningState"] == "Succeeded"
    assert account["properties"]["primaryEndpoints"]["file"] == f"https://{name}.file.core.windows.net/"
    assert account["sku"] == {"name": "Standard_ZRS", "tier": "Standard"}
    assert "secondaryLocation" not in account["properties"]
    assert send("GET", path + API_VERSION).json() == account


def test_what_storage_does_not_know_survives_get_and_put(account: dict[str, Any], send: Sender, path: str) -> None:
    account["properties"] |= {"futureFeature": {"enabled": True}, "allowSharedKeyAccess": False}
    changed = send("PUT", path + API_VERSION, account)
    assert changed.status_code == 200
    assert changed.json() == send("GET", path + API_VERSION).json() == account
    sparse = send("PUT", path + API_VERSION, wanted())
    assert sparse.json()["properties"] == account["properties"]


def test_keys_are_listed_whether_they_open_anything_or_not(account: dict[str, Any], send: Sender, path: str) -> None:
    first = send("POST", f"{path}/listKeys{API_VERSION}", {}).json()["keys"]
    assert [one["keyName"] for one in first] == ["key1", "key2"]
    assert {len(base64.b64decode(one["value"])) for one in first} == {64}
    send("PUT", path + API_VERSION, {**account, "properties": {"allowSharedKeyAccess": False}})
    assert send("POST", f"{path}/listKeys{API_VERSION}", {}).json()["keys"] == first
    assert first[0]["value"] not in send("GET", path + API_VERSION).text()


def test_one_key_is_renewed_and_the_other_stays(account: dict[str, Any], send: Sender, path: str) -> None:
    del account
    before = {one["keyName"]: one["value"] for one in send("POST", f"{path}/listKeys{API_VERSION}").json()["keys"]}
    renewed = send("POST", f"{path}/regenerateKey{API_VERSION}", {"keyName": "key1"})
    after = {one["keyName"]: one["value"] for one in renewed.json()["keys"]}
    assert after["key1"] != before["key1"]
    assert after["key2"] == before["key2"]
    assert renewed.json() == send("POST", f"{path}/listKeys{API_VERSION}").json()
    refused = send("POST", f"{path}/regenerateKey{API_VERSION}", {"keyName": "key3"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidKeyName")


def test_keys_take_a_role(account: dict[str, Any], send: Sender, path: str, newcomer: Newcomer, grant: Grant) -> None:
    grant(account["id"], "Reader", newcomer.object_id)
    refused = send("POST", f"{path}/listKeys{API_VERSION}", credential=newcomer.credential)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AuthorizationFailed")
    grant(account["id"], "Storage Account Contributor", newcomer.object_id)
    assert send("POST", f"{path}/listKeys{API_VERSION}", credential=newcomer.credential).status_code == 200


@pytest.mark.parametrize("bad", ["st", "a" * 25, "Upper", "with-hyphen"])
def test_a_name_that_breaks_the_rule_is_refused(send: Sender, path: str, subscription: str, bad: str) -> None:
    refused = send("PUT", f"{path.rpartition('/')[0]}/{bad}{API_VERSION}", wanted())
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "AccountNameInvalid")
    check = f"{subscription}/providers/Microsoft.Storage/checkNameAvailability{API_VERSION}"
    answer = send("POST", check, {"name": bad, "type": "Microsoft.Storage/storageAccounts"}).json()
    assert (answer["nameAvailable"], answer["reason"]) == (False, "AccountNameInvalid")


def test_a_name_is_taken_in_all_groups_until_its_account_goes(
    account: dict[str, Any], resources: ResourceManagementClient, send: Sender, subscription: str, path: str
) -> None:
    check = f"{subscription}/providers/Microsoft.Storage/checkNameAvailability{API_VERSION}"
    body = {"name": account["name"], "type": "Microsoft.Storage/storageAccounts"}
    taken = send("POST", check, body).json()
    assert (taken["nameAvailable"], taken["reason"]) == (False, "AlreadyExists")
    other = resources.resource_groups.create_or_update(f"other-{account['name']}", {"location": "westeurope"})
    elsewhere = f"{other.id}/providers/Microsoft.Storage/storageAccounts/{account['name']}{API_VERSION}"
    refused = send("PUT", elsewhere, wanted())
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "StorageAccountAlreadyTaken")
    assert send("DELETE", path + API_VERSION).status_code == 200
    assert send("DELETE", path + API_VERSION).status_code == 204
    assert send("POST", check, body).json() == {"nameAvailable": True}
    assert finished(send, send("PUT", elsewhere, wanted())).status_code == 200


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"sku": None}, "sku.name is missing"),
        ({"kind": None}, "kind is missing"),
        ({"sku": {"name": "Standard_Best"}}, "invalid: sku"),
        ({"kind": "Shelf"}, "invalid: kind"),
    ],
)
def test_an_account_that_breaks_a_rule_is_refused(send: Sender, path: str, change: dict[str, Any], text: str) -> None:
    refused = send("PUT", path + API_VERSION, {**wanted(), **change})
    assert refused.status_code == 400
    assert text in refused.json()["error"]["message"]


def test_the_kind_stays(account: dict[str, Any], send: Sender, path: str) -> None:
    refused = send("PUT", path + API_VERSION, {**account, "kind": "FileStorage"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidUpdate")


def test_shares_come_and_go(account: dict[str, Any], send: Sender, path: str) -> None:
    share = f"{path}/fileServices/default/shares/dags{API_VERSION}"
    made = send("PUT", share, {"properties": {"shareQuota": 100}})
    assert made.status_code == 201
    assert made.json()["properties"]["shareQuota"] == 100
    assert made.json()["type"] == "Microsoft.Storage/storageAccounts/fileServices/shares"
    again = send("PUT", share, {"properties": {"futureFeature": 1}})
    assert again.status_code == 200
    assert (again.json()["properties"]["shareQuota"], again.json()["properties"]["futureFeature"]) == (100, 1)
    listed = send("GET", f"{path}/fileServices/default/shares{API_VERSION}").json()["value"]
    assert [one["name"] for one in listed] == ["dags"]
    assert send("DELETE", share).status_code == 200
    assert send("GET", share).status_code == 404
    send("PUT", share, {})
    send("DELETE", path + API_VERSION)
    assert send("GET", share).status_code == 404
    assert account["name"] in share


@pytest.mark.parametrize(
    ("share", "properties", "code"),
    [
        ("Dags", {}, "InvalidResourceName"),
        ("a--b", {}, "InvalidResourceName"),
        ("ab", {}, "InvalidResourceName"),
        ("dags", {"shareQuota": 0}, "InvalidRequestPropertyValue"),
        ("dags", {"shareQuota": 102_401}, "InvalidRequestPropertyValue"),
    ],
)
def test_a_share_that_breaks_a_rule_is_refused(
    account: dict[str, Any], send: Sender, path: str, share: str, properties: dict[str, Any], code: str
) -> None:
    refused = send("PUT", f"{path}/fileServices/default/shares/{share}{API_VERSION}", {"properties": properties})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert account["name"] in path


def test_the_file_service_is_there_once_and_stays(account: dict[str, Any], send: Sender, path: str) -> None:
    service = f"{path}/fileServices/default{API_VERSION}"
    kept = send("GET", service).json()
    assert kept["properties"]["shareDeleteRetentionPolicy"] == {"enabled": True, "days": 7}
    off = {"properties": {"shareDeleteRetentionPolicy": {"enabled": False}}}
    assert send("PUT", service, off).json()["properties"]["shareDeleteRetentionPolicy"]["enabled"] is False
    assert send("DELETE", service).status_code == 405
    assert send("PUT", f"{path}/fileServices/second{API_VERSION}", {}).status_code == 400
    assert account["name"] in path


def test_a_share_needs_its_account(send: Sender, path: str) -> None:
    refused = send("PUT", f"{path}/fileServices/default/shares/dags{API_VERSION}", {})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "ParentResourceNotFound")
