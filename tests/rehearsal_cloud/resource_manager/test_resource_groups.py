"""The subscription itself: groups, provider registration, listings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

if TYPE_CHECKING:
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Newcomer, Sender
    from tests.support.rehearsal import Rehearsal

GROUP = "/subscriptions/{}/resourcegroups/{}?api-version=2025-04-01"


def test_a_group_is_created_and_then_updated(rehearsal: Rehearsal, send: Sender, group_name: str) -> None:
    url = GROUP.format(rehearsal.subscription, group_name)
    first = send("PUT", url, {"location": "West Europe", "tags": {"team": "data"}})
    second = send("PUT", url, {"location": "westeurope"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["properties"]["provisioningState"] == "Succeeded"
    assert first.json()["location"] == "westeurope"
    assert first.json()["tags"] == {"team": "data"}


def test_groups_are_found_whatever_their_case(resources: ResourceManagementClient, group: str) -> None:
    assert resources.resource_groups.check_existence(group.upper())
    assert resources.resource_groups.get(group.upper()).name == group
    assert group in [one.name for one in resources.resource_groups.list()]


def test_a_group_that_is_not_there_is_not_found(resources: ResourceManagementClient, group_name: str) -> None:
    assert not resources.resource_groups.check_existence(group_name)
    with pytest.raises(ResourceNotFoundError, match=f"Resource group '{group_name}' could not be found") as missing:
        resources.resource_groups.get(group_name)
    assert missing.value.error.code == "ResourceGroupNotFound"


def test_a_group_stays_where_it_is(resources: ResourceManagementClient, group: str) -> None:
    with pytest.raises(ResourceExistsError, match="already exists in location 'westeurope'") as refused:
        resources.resource_groups.create_or_update(group, {"location": "northeurope"})
    assert refused.value.error.code == "InvalidResourceGroupLocation"


def test_a_group_needs_a_location(resources: ResourceManagementClient, group_name: str) -> None:
    with pytest.raises(HttpResponseError, match="location property is required"):
        resources.resource_groups.create_or_update(group_name, {})


@pytest.mark.parametrize("name", ["ends-with.", "a" * 91, "colon:colon"])
def test_a_name_that_breaks_the_rule_is_refused(rehearsal: Rehearsal, send: Sender, name: str) -> None:
    answer = send("PUT", GROUP.format(rehearsal.subscription, name), {"location": "westeurope"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidResourceGroup")


def test_tags_are_patched(resources: ResourceManagementClient, group: str) -> None:
    assert resources.resource_groups.update(group, {"tags": {"a": "b"}}).tags == {"a": "b"}
    assert resources.resource_groups.get(group).tags == {"a": "b"}


def test_deleting_a_group_ends_for_the_sdk_too(resources: ResourceManagementClient, group: str) -> None:
    resources.resource_groups.begin_delete(group).result()
    with pytest.raises(ResourceNotFoundError):
        resources.resource_groups.begin_delete(group)


def test_deleting_a_group_is_polled_and_takes_all_with_it(
    rehearsal: Rehearsal, resources: ResourceManagementClient, send: Sender, group: str
) -> None:
    identity = (
        f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity"
        "/userAssignedIdentities/one?api-version=2024-11-30"
    )
    assert send("PUT", identity, {"location": "westeurope"}).status_code == 201
    first = send("DELETE", GROUP.format(rehearsal.subscription, group))
    assert first.status_code == 202
    assert int(first.headers["x-ms-retry-after-ms"]) > 0
    deadline = time.monotonic() + 60
    while (polled := send("GET", first.headers["Location"])).status_code == 202:
        assert time.monotonic() < deadline
        assert polled.headers["Location"]
    assert polled.status_code == 204
    assert not resources.resource_groups.check_existence(group)
    assert send("GET", identity).json()["error"]["code"] == "ResourceGroupNotFound"


def test_a_group_that_is_being_deleted_takes_nothing_in(slow: Rehearsal, send_slowly: Sender) -> None:
    url = GROUP.format(slow.subscription, "going")
    send_slowly("PUT", url, {"location": "westeurope"})
    send_slowly("DELETE", url)
    assert send_slowly("GET", url).json()["properties"]["provisioningState"] == "Deleting"
    refused = send_slowly("PUT", url, {"location": "westeurope"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ResourceGroupBeingDeleted")


def test_a_wait_of_seconds_is_named_in_seconds_and_a_shorter_one_cannot_be(
    rehearsal: Rehearsal, send: Sender, slow: Rehearsal, send_slowly: Sender
) -> None:
    for sender, subscription, names in (
        (send_slowly, slow.subscription, {"Retry-After": "15", "x-ms-retry-after-ms": "15000"}),
        (send, rehearsal.subscription, {"Retry-After": None, "x-ms-retry-after-ms": "50"}),
    ):
        url = GROUP.format(subscription, "waiting")
        sender("PUT", url, {"location": "westeurope"})
        answer = sender("DELETE", url)
        assert {name: answer.headers.get(name) for name in names} == names


# Providers


def test_a_provider_is_registered_after_a_while(rehearsal: Rehearsal, send: Sender) -> None:
    base = f"/subscriptions/{rehearsal.subscription}/providers/Microsoft.Network"
    version = "?api-version=2025-04-01"
    assert send("POST", f"{base}/unregister{version}").json()["registrationState"] == "NotRegistered"
    assert send("GET", base + version).json()["registrationState"] == "NotRegistered"
    put = f"/subscriptions/{rehearsal.subscription}/resourceGroups/none/providers/Microsoft.Network/virtualNetworks/one"
    refused = send("PUT", f"{put}?api-version=2024-05-01", {"location": "westeurope"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "MissingSubscriptionRegistration")
    assert "not registered to use namespace 'Microsoft.Network'" in refused.json()["error"]["message"]
    assert send("POST", f"{base}/register{version}").json()["registrationState"] in ("Registering", "Registered")
    states = {send("GET", base + version).json()["registrationState"] for _ in range(20)}
    assert "Registered" in states


def test_an_unknown_provider_is_refused(rehearsal: Rehearsal, send: Sender) -> None:
    base = f"/subscriptions/{rehearsal.subscription}/providers/Microsoft.Nothing"
    for method, url in (("GET", base), ("POST", f"{base}/register"), ("POST", f"{base}/unregister")):
        answer = send(method, f"{url}?api-version=2025-04-01")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "InvalidResourceNamespace")


# Listings


def test_resources_are_found_by_type_and_name(
    rehearsal: Rehearsal, resources: ResourceManagementClient, send: Sender, group: str
) -> None:
    for name in ("one", "two"):
        send(
            "PUT",
            f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity"
            f"/userAssignedIdentities/{name}?api-version=2024-11-30",
            {"location": "westeurope"},
        )
    kind = "resourceType eq 'Microsoft.ManagedIdentity/userAssignedIdentities'"
    assert {one.name for one in resources.resources.list_by_resource_group(group, filter=kind)} == {"one", "two"}
    found = resources.resources.list_by_resource_group(group, filter=f"{kind} and name eq 'TWO'")
    assert [one.name for one in found] == ["two"]
    assert {"one", "two"} <= {one.name for one in resources.resources.list(filter=kind)}
    assert not list(resources.resources.list_by_resource_group(group, filter="resourceType eq 'Microsoft.Network/x'"))


# Who and where


def test_another_subscription_is_not_found(send: Sender) -> None:
    answer = send("GET", "/subscriptions/00000000-0000-0000-0000-000000000000?api-version=2022-12-01")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "SubscriptionNotFound")


def test_who_has_no_role_sees_the_subscription_in_no_way(
    rehearsal: Rehearsal, send: Sender, newcomer: Newcomer, group: str
) -> None:
    base = f"/subscriptions/{rehearsal.subscription}"
    for method, path in (
        ("GET", ""),
        ("GET", "/resourcegroups"),
        ("GET", "/resources"),
        ("GET", f"/resourcegroups/{group}"),
        ("GET", f"/resourcegroups/{group}/resources"),
        ("PUT", f"/resourcegroups/{group}"),
        ("DELETE", f"/resourcegroups/{group}"),
        ("POST", "/providers/Microsoft.Network/register"),
    ):
        body = {"location": "westeurope"} if method == "PUT" else None
        answer = send(method, f"{base}{path}?api-version=2025-04-01", body, credential=newcomer.credential)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AuthorizationFailed"), path


def test_who_has_no_role_is_told_of_no_subscription(send: Sender, newcomer: Newcomer) -> None:
    answer = send("GET", "/subscriptions?api-version=2022-12-01", credential=newcomer.credential)
    assert answer.json()["value"] == []
    assert len(send("GET", "/subscriptions?api-version=2022-12-01").json()["value"]) == 1
