"""Applications, their credentials and their service principals on Microsoft Graph, and who may register them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal_cloud.entra.permissions import APP_ROLES, DIRECTORY_ROLES
from tests.support.azure_requests import GRAPH
from tests.support.registrations import DEVELOPER, make_group, register

if TYPE_CHECKING:
    from tests.support.azure_requests import Newcomer, Sender
    from tests.support.registrations import Registration

TRUST = {
    "name": "airflow",
    "issuer": "https://westeurope.oic.prod-aks.azure.com/tenant/cluster/",
    "subject": "system:serviceaccount:airflow:airflow",
    "audiences": ["api://AzureADTokenExchange"],
}


@pytest.fixture
def application(send: Sender) -> Registration:
    return register(send)


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_an_application_is_made_once_by_its_key_and_then_changed(send: Sender) -> None:
    key, upsert = uuid.uuid4().hex, {"Prefer": "create-if-missing"}
    url, body = f"{GRAPH}/applications(uniqueName='{key}')", {"displayName": "Airflow"}
    assert send("PATCH", url, body).status_code == 404
    made = send("PATCH", url, body, headers=upsert)
    assert (made.status_code, made.json()["uniqueName"], made.json()["web"]["redirectUris"]) == (201, key, [])
    assert send("PATCH", url, body | {"notes": "changed"}, headers=upsert).status_code == 204
    (listed,) = send("GET", f"{GRAPH}/applications?$filter=uniqueName eq '{key}'").json()["value"]
    assert (listed["id"], listed["notes"]) == (made.json()["id"], "changed")
    assert send("DELETE", f"{GRAPH}/applications/{listed['id']}").status_code == 204
    assert code_of(send("PATCH", url, body, headers=upsert)) == (400, "Request_BadRequest")


def test_what_is_changed_is_read_and_the_rest_stays(send: Sender, application: Registration) -> None:
    uris = ["https://airflow.example.com/auth/oauth-authorized/azure", "http://localhost/auth/oauth-authorized/azure"]
    changes = {"groupMembershipClaims": "ApplicationGroup", "optionalClaims": {"idToken": [{"name": "upn"}]}}
    assert application.change(web={"redirectUris": uris}, **changes).status_code == 204
    assert application.change(tags=["airflowaks"]).status_code == 204
    body = send("GET", f"{GRAPH}/applications(appId='{application.app_id}')").json()
    assert body["web"]["redirectUris"] == uris
    assert body["web"]["implicitGrantSettings"]["enableIdTokenIssuance"] is False
    assert body | changes | {"tags": ["airflowaks"]} == body


@pytest.mark.parametrize(
    "change",
    [
        {"web": {"redirectUris": ["http://airflow.example.com/auth"]}},
        {"web": {"redirectUris": ["/auth"]}},
        {"web": {"redirectUris": ["https://a.example/x", "https://a.example/x"]}},
        {"groupMembershipClaims": "Everything"},
        {"signInAudience": "Everybody"},
        {"passwordCredentials": []},
    ],
)
def test_a_change_that_no_application_may_have_is_refused(application: Registration, change: dict[str, Any]) -> None:
    assert code_of(application.change(**change)) == (400, "Request_BadRequest")


def test_a_password_is_told_once_and_removed_by_its_id(send: Sender, application: Registration) -> None:
    secret = application.secret(displayName="airflow", endDateTime="2030-01-01T00:00:00Z")
    body = send("GET", application.url)
    (credential,) = body.json()["passwordCredentials"]
    assert (credential["displayName"], credential["endDateTime"]) == ("airflow", "2030-01-01T00:00:00Z")
    assert secret not in body.text()
    url, key = f"{application.url}/removePassword", {"keyId": credential["keyId"]}
    assert send("POST", url, key).status_code == 204
    assert send("GET", application.url).json()["passwordCredentials"] == []
    assert code_of(send("POST", url, key)) == (400, "Request_BadRequest")


def test_trust_in_an_issuer_is_kept_until_it_is_deleted(send: Sender, application: Registration) -> None:
    url = f"{application.url}/federatedIdentityCredentials"
    assert send("POST", url, TRUST).status_code == 201
    again = send("POST", url, TRUST)
    assert code_of(again) == (409, "Request_MultipleObjectsWithSameKeyValue")
    assert again.json()["error"]["message"] == "FederatedIdentityCredential with name airflow already exists."
    assert code_of(send("POST", url, TRUST | {"name": "twice"})) == (400, "Request_BadRequest")
    assert code_of(send("POST", url, {"name": "nothing"})) == (400, "Request_BadRequest")
    assert send("PATCH", f"{url}/airflow", {"subject": "system:serviceaccount:airflow:web"}).status_code == 204
    (credential,) = send("GET", url).json()["value"]
    assert credential["subject"] == "system:serviceaccount:airflow:web"
    assert send("DELETE", f"{url}/{credential['id']}").status_code == 204
    assert send("GET", f"{url}/airflow").status_code == 404


def test_groups_are_assigned_to_an_application_until_they_are_gone(send: Sender, application: Registration) -> None:
    group = make_group(send, DEVELOPER)
    application.assign(group)
    ask = application.ask_to_assign
    assert code_of(ask(group)) == code_of(ask(DEVELOPER, str(uuid.uuid4()))) == (400, "Request_BadRequest")
    assert code_of(ask(str(uuid.uuid4()))) == (404, "Request_ResourceNotFound")
    url = f"{GRAPH}/servicePrincipals(appId='{application.app_id}')/appRoleAssignedTo"
    (assignment,) = send("GET", url).json()["value"]
    assert (assignment["principalId"], assignment["principalType"]) == (group, "Group")
    assert len(send("GET", f"{GRAPH}/groups/{group}/appRoleAssignments").json()["value"]) == 1
    assert send("DELETE", f"{GRAPH}/groups/{group}").status_code == 204
    assert send("GET", url).json()["value"] == []


def test_an_application_takes_its_principal_assignments_and_consents_with_it(
    send: Sender, application: Registration
) -> None:
    microsoft_graph = send("GET", f"{GRAPH}/servicePrincipals(appId='00000003-0000-0000-c000-000000000000')").json()
    consent = {"clientId": application.principal, "consentType": "AllPrincipals", "scope": "openid profile"}
    url = f"{GRAPH}/oauth2PermissionGrants"
    assert send("POST", url, consent | {"resourceId": microsoft_graph["id"]}).status_code == 201
    again = send("POST", url, consent | {"resourceId": microsoft_graph["id"]})
    assert again.json()["error"]["message"] == "Permission entry already exists."
    listed = f"{url}?$filter=clientId eq '{application.principal}'"
    assert [grant["scope"] for grant in send("GET", listed).json()["value"]] == ["openid profile"]
    assert send("DELETE", application.url).status_code == 204
    assert send("GET", listed).json()["value"] == []
    assert send("GET", f"{GRAPH}/servicePrincipals/{application.principal}").status_code == 404
    deleted = send("GET", f"{GRAPH}/directory/deletedItems/microsoft.graph.application").json()["value"]
    assert application.id in [each["id"] for each in deleted]


def grant(send: Sender, newcomer: Newcomer, permission: str) -> None:
    body = {"principalId": newcomer.object_id, "resourceId": str(uuid.uuid4()), "appRoleId": APP_ROLES[permission]}
    assert send("POST", f"{GRAPH}/servicePrincipals/{newcomer.object_id}/appRoleAssignments", body).status_code == 201


def test_an_owner_registers_applications_and_changes_its_own(
    send: Sender, newcomer: Newcomer, application: Registration
) -> None:
    as_newcomer, denied = {"credential": newcomer.credential}, (403, "Authorization_RequestDenied")
    assert code_of(send("POST", f"{GRAPH}/applications", {"displayName": "mine"}, **as_newcomer)) == denied
    grant(send, newcomer, "Application.ReadWrite.OwnedBy")
    mine = send("POST", f"{GRAPH}/applications", {"displayName": "mine"}, **as_newcomer).json()
    url = f"{GRAPH}/applications/{mine['id']}"
    assert [owner["id"] for owner in send("GET", f"{url}/owners").json()["value"]] == [newcomer.object_id]
    principal = send("POST", f"{GRAPH}/servicePrincipals", {"appId": mine["appId"]}, **as_newcomer).json()["id"]
    for target in (url, f"{GRAPH}/applications(appId='{mine['appId']}')", f"{GRAPH}/servicePrincipals/{principal}"):
        assert send("PATCH", target, {"notes": "mine"}, **as_newcomer).status_code == 204
    assert send("POST", f"{url}/addPassword", {}, **as_newcomer).status_code == 200
    assert code_of(send("PATCH", application.url, {"notes": "mine"}, **as_newcomer)) == denied
    body = {"principalId": DEVELOPER, "resourceId": principal, "appRoleId": str(uuid.UUID(int=0))}
    assigned = f"{GRAPH}/servicePrincipals/{principal}/appRoleAssignedTo"
    assert code_of(send("POST", assigned, body, **as_newcomer)) == denied
    grant(send, newcomer, "AppRoleAssignment.ReadWrite.All")
    assert send("POST", assigned, body, **as_newcomer).status_code == 201
    assert send("DELETE", url, **as_newcomer).status_code == 204


def test_a_directory_role_allows_what_permissions_do_not(
    send: Sender, newcomer: Newcomer, application: Registration
) -> None:
    role = {"principalId": newcomer.object_id, "roleDefinitionId": DIRECTORY_ROLES["Application Administrator"]}
    url, body = f"{GRAPH}/roleManagement/directory/roleAssignments", role | {"directoryScopeId": "/"}
    assert send("POST", url, body, credential=newcomer.credential).status_code == 403
    assert send("POST", url, body).status_code == 201
    assert send("PATCH", application.url, {"notes": "any"}, credential=newcomer.credential).status_code == 204
    assert send("POST", f"{GRAPH}/groups", {}, credential=newcomer.credential).status_code == 403


def test_the_directory_has_ready_made_users(send: Sender) -> None:
    users = {
        user["userPrincipalName"].partition("@")[0]: user for user in send("GET", f"{GRAPH}/users").json()["value"]
    }
    assert set(users) == {"administrator", "developer", "viewer", "outsider"}
    assert [name for name, user in users.items() if user["mail"] is None] == ["developer"]
    for key in (DEVELOPER, users["developer"]["userPrincipalName"]):
        assert send("GET", f"{GRAPH}/users/{key}").json()["id"] == DEVELOPER
    assert code_of(send("GET", f"{GRAPH}/users/me@example.com")) == (404, "Request_ResourceNotFound")
