"""Groups and service principals on Microsoft Graph."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal_cloud.entra.permissions import APP_ROLES
from rehearsal_cloud.home import OPERATOR_CLIENT_ID, OPERATOR_OBJECT_ID
from tests.support.azure_requests import GRAPH

if TYPE_CHECKING:
    from tests.support.azure_requests import Newcomer, Sender


def wanted(**changes: Any) -> dict[str, Any]:
    name = f"group-{uuid.uuid4().hex[:8]}"
    return {"displayName": name, "mailNickname": name, "mailEnabled": False, "securityEnabled": True} | changes


@pytest.fixture
def group_id(send: Sender) -> str:
    made = send("POST", f"{GRAPH}/groups", wanted())
    assert made.status_code == 201
    return str(made.json()["id"])


def test_a_group_is_found_by_its_name(send: Sender) -> None:
    body = wanted(displayName="O'Brien's admins", description="who may")
    made = send("POST", f"{GRAPH}/groups", body).json()
    found = send("GET", f"{GRAPH}/groups?$filter=displayName eq 'O''Brien''s admins'").json()["value"]
    assert [one["id"] for one in found] == [made["id"]]
    assert found[0]["description"] == "who may"
    both = f"displayName eq 'O''Brien''s admins' and mailNickname eq '{body['mailNickname']}'"
    assert len(send("GET", f"{GRAPH}/groups?$filter={both}").json()["value"]) == 1
    assert send("GET", f"{GRAPH}/groups?$filter=displayName eq 'other'").json()["value"] == []


@pytest.mark.parametrize("missing", ["displayName", "mailEnabled", "mailNickname", "securityEnabled"])
def test_what_a_group_needs_must_be_there(send: Sender, missing: str) -> None:
    body = wanted()
    del body[missing]
    answer = send("POST", f"{GRAPH}/groups", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "Request_BadRequest")
    assert missing in answer.json()["error"]["message"]


def test_a_nickname_without_spaces_is_needed(send: Sender) -> None:
    assert send("POST", f"{GRAPH}/groups", wanted(mailNickname="with space")).status_code == 400


@pytest.mark.parametrize(
    ("body", "text"), [(["not", "an", "object"], "Unable to read JSON request payload"), (None, "Empty Payload")]
)
def test_a_body_has_to_be_an_object(send: Sender, group_id: str, body: Any, text: str) -> None:
    for method, path in (("PATCH", f"groups/{group_id}"), ("POST", "groups"), ("POST", "applications")):
        answer = send(method, f"{GRAPH}/{path}", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")
        assert text in answer.json()["error"]["message"]


def test_members_come_and_go(send: Sender, group_id: str) -> None:
    reference = {"@odata.id": f"{GRAPH}/directoryObjects/{OPERATOR_OBJECT_ID}"}
    url = f"{GRAPH}/groups/{group_id}/members"
    assert send("POST", f"{url}/$ref", reference).status_code == 204
    members = send("GET", url).json()["value"]
    assert [(one["id"], one["@odata.type"]) for one in members] == [
        (OPERATOR_OBJECT_ID, "#microsoft.graph.servicePrincipal")
    ]
    again = send("POST", f"{url}/$ref", reference)
    assert (again.status_code, again.json()["error"]["code"]) == (400, "Request_BadRequest")
    assert send("DELETE", f"{url}/{OPERATOR_OBJECT_ID}/$ref").status_code == 204
    assert send("GET", url).json()["value"] == []
    assert send("DELETE", f"{url}/{OPERATOR_OBJECT_ID}/$ref").status_code == 404


def test_lists_come_in_pages(send: Sender, group_id: str) -> None:
    condition = f"$filter=displayName eq 'paged {group_id}'"
    for _ in range(3):
        assert send("POST", f"{GRAPH}/groups", wanted(displayName=f"paged {group_id}")).status_code == 201
    first = send("GET", f"{GRAPH}/groups?{condition}&$top=2").json()
    second = send("GET", first["@odata.nextLink"]).json()
    assert len({one["id"] for one in first["value"] + second["value"]}) == 3
    assert "@odata.nextLink" not in second
    assert send("GET", f"{GRAPH}/groups?$top=1000").status_code == 400


def test_an_unknown_member_is_refused(send: Sender, group_id: str) -> None:
    reference = {"@odata.id": f"{GRAPH}/directoryObjects/{uuid.uuid4()}"}
    answer = send("POST", f"{GRAPH}/groups/{group_id}/members/$ref", reference)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "Request_ResourceNotFound")


def test_a_deleted_group_is_gone(send: Sender, group_id: str) -> None:
    assert send("DELETE", f"{GRAPH}/groups/{group_id}").status_code == 204
    assert send("GET", f"{GRAPH}/groups/{group_id}").status_code == 404
    assert send("DELETE", f"{GRAPH}/groups/{group_id}").status_code == 404


def test_a_service_principal_is_found_by_its_application(send: Sender) -> None:
    for condition in (
        f"appId eq '{OPERATOR_CLIENT_ID}'",
        f"servicePrincipalNames/any(c:c eq '{OPERATOR_CLIENT_ID}')",
    ):
        found = send("GET", f"{GRAPH}/servicePrincipals?$filter={condition}").json()["value"]
        assert [one["id"] for one in found] == [OPERATOR_OBJECT_ID]


def test_objects_are_found_by_their_ids(send: Sender, group_id: str) -> None:
    ids = [group_id, OPERATOR_OBJECT_ID, str(uuid.uuid4())]
    found = send("POST", f"{GRAPH}/directoryObjects/getByIds", {"ids": ids}).json()["value"]
    assert {one["id"] for one in found} == {group_id, OPERATOR_OBJECT_ID}


def test_an_application_is_listed_until_it_is_deleted_with_its_principal(send: Sender) -> None:
    name = f"app-{uuid.uuid4().hex[:8]}"
    made = send("POST", f"{GRAPH}/applications", {"displayName": name}).json()
    send("POST", f"{GRAPH}/servicePrincipals", {"appId": made["appId"]})
    listed = send("GET", f"{GRAPH}/applications?$filter=displayName eq '{name}'").json()["value"]
    assert [application["appId"] for application in listed] == [made["appId"]]
    assert send("GET", f"{GRAPH}/applications/{made['id']}").json()["passwordCredentials"] == []
    assert send("DELETE", f"{GRAPH}/applications/{made['id']}").status_code == 204
    assert send("GET", f"{GRAPH}/applications/{made['id']}").status_code == 404
    principals = f"{GRAPH}/servicePrincipals?$filter=servicePrincipalNames/any(c:c eq '{made['appId']}')"
    assert send("GET", principals).json()["value"] == []


def test_groups_of_a_member_are_checked(send: Sender, group_id: str) -> None:
    reference = {"@odata.id": f"{GRAPH}/directoryObjects/{OPERATOR_OBJECT_ID}"}
    check = f"{GRAPH}/directoryObjects/{OPERATOR_OBJECT_ID}/checkMemberGroups"
    body = {"groupIds": [group_id]}
    assert send("POST", check, body).json()["value"] == []
    send("POST", f"{GRAPH}/groups/{group_id}/members/$ref", reference)
    assert send("POST", check, body).json()["value"] == [group_id]
    assert send("GET", f"{GRAPH}/groups/{group_id}/owners").json()["value"] == []


def test_a_second_service_principal_of_an_application_is_refused(send: Sender, newcomer: Newcomer) -> None:
    answer = send("POST", f"{GRAPH}/servicePrincipals", {"appId": newcomer.client_id})
    assert answer.json()["error"]["code"] == "Request_MultipleObjectsWithSameKeyValue"


def grant(send: Sender, newcomer: Newcomer, permission: str) -> None:
    body = {"principalId": newcomer.object_id, "resourceId": str(uuid.uuid4()), "appRoleId": APP_ROLES[permission]}
    url = f"{GRAPH}/servicePrincipals/{newcomer.object_id}/appRoleAssignments"
    assert send("POST", url, body).status_code == 201
    assert send("POST", url, body).json()["error"]["message"].startswith("Permission being assigned already exists")


def test_a_principal_without_permissions_reads_no_groups_and_writes_nothing(
    send: Sender, newcomer: Newcomer, group_id: str
) -> None:
    requests = (
        *(("GET", "groups"), ("GET", f"groups/{group_id}"), ("GET", f"groups/{group_id}/members")),
        *(("POST", "groups"), ("PATCH", f"groups/{group_id}"), ("DELETE", f"groups/{group_id}")),
        *(("POST", f"groups/{group_id}/members/$ref"), ("POST", "applications")),
    )
    for method, path in requests:
        answer = send(method, f"{GRAPH}/{path}", wanted(), credential=newcomer.credential)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "Authorization_RequestDenied")


def test_who_creates_groups_changes_those_that_it_owns(send: Sender, newcomer: Newcomer, group_id: str) -> None:
    grant(send, newcomer, "Group.Create")
    reference = f"{GRAPH}/directoryObjects/{newcomer.object_id}"
    as_newcomer = {"credential": newcomer.credential}
    owned = send("POST", f"{GRAPH}/groups", wanted(**{"owners@odata.bind": [reference]}), **as_newcomer)
    without_owner = send("POST", f"{GRAPH}/groups", wanted(), **as_newcomer)
    assert (owned.status_code, without_owner.status_code) == (201, 201)
    mine, nobodys = (f"{GRAPH}/groups/{answer.json()['id']}" for answer in (owned, without_owner))
    assert [one["id"] for one in send("GET", f"{mine}/owners").json()["value"]] == [newcomer.object_id]

    for url in (nobodys, f"{GRAPH}/groups/{group_id}"):
        assert send("PATCH", url, {"description": "mine"}, **as_newcomer).status_code == 403
        assert send("POST", f"{url}/members/$ref", {"@odata.id": reference}, **as_newcomer).status_code == 403
    assert send("POST", f"{mine}/members/$ref", {"@odata.id": reference}, **as_newcomer).status_code == 204
    assert send("PATCH", mine, {"description": "mine"}, **as_newcomer).status_code == 204
    assert send("GET", mine).json()["description"] == "mine"
    assert send("GET", f"{mine}/members", **as_newcomer).status_code == 403
    assert send("DELETE", mine, **as_newcomer).status_code == 204


def test_a_group_is_made_and_changed_by_its_key(send: Sender, newcomer: Newcomer) -> None:
    body, key = wanted(), uuid.uuid4().hex
    url, upsert = f"{GRAPH}/groups(uniqueName='{key}')", {"Prefer": "create-if-missing"}
    assert send("PATCH", url, body).status_code == 404
    refused = send("PATCH", url, body, headers=upsert, credential=newcomer.credential)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "Authorization_RequestDenied")
    grant(send, newcomer, "Group.Create")
    assert send("PATCH", url, body, headers=upsert, credential=newcomer.credential).status_code == 403

    grant(send, newcomer, "Group.ReadWrite.All")
    owner = {"owners@odata.bind": [f"{GRAPH}/directoryObjects/{newcomer.object_id}"]}
    made = send("PATCH", url, body | owner, headers=upsert, credential=newcomer.credential)
    assert (made.status_code, made.json()["uniqueName"]) == (201, key)
    changed = send("PATCH", url, body | {"description": "changed", "uniqueName": "another"}, headers=upsert)
    assert (changed.status_code, changed.content) == (204, b"")
    owned = send("PATCH", url, body | owner, headers=upsert)
    assert (owned.status_code, "already exist" in owned.json()["error"]["message"]) == (400, True)

    listed = f"{GRAPH}/groups?$filter=uniqueName eq '{key}'"
    (group,) = send("GET", listed).json()["value"]
    assert (group["id"], group["description"], "uniqueName" in group) == (made.json()["id"], "changed", False)
    assert send("GET", f"{listed}&$select=id,uniqueName").json()["value"][0]["uniqueName"] == key


def test_a_deleted_group_keeps_its_key(send: Sender, newcomer: Newcomer) -> None:
    body, key = wanted(), uuid.uuid4().hex
    url, upsert = f"{GRAPH}/groups(uniqueName='{key}')", {"Prefer": "create-if-missing"}
    made = send("PATCH", url, body, headers=upsert).json()["id"]
    assert send("DELETE", f"{GRAPH}/groups/{made}").status_code == 204
    again = send("PATCH", url, body, headers=upsert)
    assert (again.status_code, again.json()["error"]["code"]) == (400, "Request_BadRequest")
    deleted = f"{GRAPH}/directory/deletedItems/microsoft.graph.group?$select=id,uniqueName"
    assert (made, key) in [(group["id"], group.get("uniqueName")) for group in send("GET", deleted).json()["value"]]
    assert send("GET", deleted, credential=newcomer.credential).status_code == 403


@pytest.mark.broad
def test_not_every_replica_has_a_new_group_at_once(send_slowly: Sender) -> None:
    body = wanted()
    made = send_slowly("POST", f"{GRAPH}/groups", body).json()["id"]
    listed = f"{GRAPH}/groups?$filter=displayName eq '{body['displayName']}'"
    assert {len(send_slowly("GET", listed).json()["value"]) for _ in range(3)} == {0, 1}
    assert {send_slowly("GET", f"{GRAPH}/groups/{made}").status_code for _ in range(3)} == {200, 404}
    time.sleep(2)
    for description in ("new", "newer"):
        assert len(send_slowly("GET", listed).json()["value"]) == 1
        url = f"{GRAPH}/groups/{made}"
        assert send_slowly("PATCH", url, {"description": description}).status_code == 204
    descriptions = {send_slowly("GET", url).json()["description"] for _ in range(3)}
    assert descriptions == {None, "newer"}


def test_who_reads_members_reads_groups(send: Sender, newcomer: Newcomer, group_id: str) -> None:
    grant(send, newcomer, "GroupMember.Read.All")
    for path in ("groups", f"groups/{group_id}", f"groups/{group_id}/members"):
        assert send("GET", f"{GRAPH}/{path}", credential=newcomer.credential).status_code == 200
    assert send("POST", f"{GRAPH}/groups", wanted(), credential=newcomer.credential).status_code == 403


def test_a_program_is_nobody_at_me(send: Sender) -> None:
    assert send("GET", f"{GRAPH}/me").status_code == 400


def test_without_token_nobody_is_served(send: Sender) -> None:
    assert send("GET", f"{GRAPH}/groups", scope="").status_code == 401
