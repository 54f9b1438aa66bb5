"""Management locks: what they keep from deletion and from change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rehearsal_cloud.home import OPERATOR_OBJECT_ID

if TYPE_CHECKING:
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Grant, Sender
    from tests.support.rehearsal import Rehearsal

IDENTITIES = "api-version=2024-11-30"
LOCKS = "api-version=2016-09-01"
BODY = {"location": "westeurope"}


@pytest.fixture
def place(rehearsal: Rehearsal, resources: ResourceManagementClient, group: str) -> str:
    """A group's ID; in it is an identity."""
    del resources
    return f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}"


@pytest.fixture
def identity(send: Sender, place: str) -> str:
    path = f"{place}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pods"
    assert send("PUT", f"{path}?{IDENTITIES}", BODY).status_code == 201
    return path


def lock(scope: str) -> str:
    return f"{scope}/providers/Microsoft.Authorization/locks/keep?{LOCKS}"


def test_a_locked_group_and_what_is_in_it_cannot_be_deleted(send: Sender, place: str, identity: str) -> None:
    assert send("PUT", lock(place), {"properties": {"level": "CanNotDelete"}}).status_code == 201
    for url in (f"{place}?api-version=2025-04-01", f"{identity}?{IDENTITIES}"):
        refused = send("DELETE", url)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ScopeLocked")
        assert f"are locked: '{place}'" in refused.json()["error"]["message"]
    assert send("PUT", f"{identity}?{IDENTITIES}", BODY).status_code == 200
    assert send("DELETE", lock(place)).status_code == 200
    assert send("DELETE", f"{identity}?{IDENTITIES}").status_code == 200


def test_a_group_cannot_be_deleted_with_a_locked_resource_in_it(send: Sender, place: str, identity: str) -> None:
    send("PUT", lock(identity), {"properties": {"level": "CanNotDelete"}})
    listed = send("GET", f"{place}/providers/Microsoft.Authorization/locks?{LOCKS}").json()["value"]
    assert [each["name"] for each in listed] == ["keep"]
    assert send("DELETE", f"{place}?api-version=2025-04-01").status_code == 409
    send("DELETE", lock(identity))
    assert send("DELETE", f"{place}?api-version=2025-04-01").status_code == 202


def test_a_read_only_resource_cannot_be_changed(send: Sender, identity: str) -> None:
    send("PUT", lock(identity), {"properties": {"level": "ReadOnly"}})
    refused = send("PUT", f"{identity}?{IDENTITIES}", BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ScopeLocked")
    send("DELETE", lock(identity))


def test_a_lock_keeps_role_assignments_below_it(send: Sender, place: str, identity: str, grant: Grant) -> None:
    grant(identity, "Reader", OPERATOR_OBJECT_ID)
    assignments = f"{identity}/providers/Microsoft.Authorization/roleAssignments"
    condition = f"$filter=atScope() and principalId eq '{OPERATOR_OBJECT_ID}'"
    listed = send("GET", f"{assignments}?api-version=2022-04-01&{condition}").json()["value"]
    (assignment,) = [each["id"] for each in listed if each["properties"]["scope"] == identity]
    send("PUT", lock(place), {"properties": {"level": "CanNotDelete"}})
    assert send("DELETE", f"{assignment}?api-version=2022-04-01").status_code == 409
    send("DELETE", lock(place))
    assert send("DELETE", f"{assignment}?api-version=2022-04-01").status_code == 200


def test_an_unknown_level_is_refused(send: Sender, place: str) -> None:
    refused = send("PUT", lock(place), {"properties": {"level": "Softly"}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidLockLevel")
