"""Role definitions and assignments, and that they are enforced."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.authorization import AuthorizationManagementClient

from rehearsal_cloud.home import OPERATOR_OBJECT_ID
from rehearsal_cloud.resource_manager.built_in_roles import ROLES
from tests.support.azure_requests import GRAPH, make_service_principal

if TYPE_CHECKING:
    from tests.support.azure_requests import Grant, Newcomer, Sender
    from tests.support.rehearsal import Rehearsal

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
ONLY_ACR_PULL = (
    "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR "
    "(@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals "
    f"{{{ACR_PULL}}})) AND ((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/delete'}})) OR "
    "(@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals "
    f"{{{ACR_PULL}}}))"
)


@pytest.fixture
def scope(rehearsal: Rehearsal, group: str) -> str:
    return f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}"


def body(rehearsal: Rehearsal, object_id: str, role: str = READER, **changes: Any) -> Any:
    definition = f"/subscriptions/{rehearsal.subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}"
    return {"roleDefinitionId": definition, "principalId": object_id, "principalType": "ServicePrincipal"} | changes


def test_roles_are_found_by_name_in_any_case(roles: AuthorizationManagementClient, scope: str) -> None:
    (found,) = roles.role_definitions.list(scope, filter="roleName eq 'key vault secrets user'")
    assert found.name == "4633458b-17de-408a-b874-0445c86b69e6"
    assert found.permissions[0].data_actions
    assert roles.role_definitions.get(scope, found.name).role_name == "Key Vault Secrets User"
    assert len(list(roles.role_definitions.list(scope))) == len(ROLES)
    assert not list(roles.role_definitions.list(scope, filter="roleName eq 'No Such Role'"))


def test_an_assignment_is_made_read_listed_and_deleted(
    rehearsal: Rehearsal, roles: AuthorizationManagementClient, scope: str, newcomer: Newcomer
) -> None:
    name = str(uuid.uuid4())
    made = roles.role_assignments.create(scope, name, body(rehearsal, newcomer.object_id))
    assert (made.scope, made.principal_id) == (scope, newcomer.object_id)
    assert roles.role_assignments.get(scope, name).id == made.id
    mine = roles.role_assignments.list_for_scope(scope, filter=f"principalId eq '{newcomer.object_id}'")
    assert [one.id for one in mine] == [made.id]
    below = roles.role_assignments.list_for_subscription(filter=f"principalId eq '{newcomer.object_id}'")
    assert [one.id for one in below] == [made.id]
    assert roles.role_assignments.create(scope, name, body(rehearsal, newcomer.object_id)).id == made.id
    deleted = roles.role_assignments.delete(scope, name)
    assert deleted is not None
    assert deleted.id == made.id
    assert roles.role_assignments.delete(scope, name) is None
    with pytest.raises(ResourceNotFoundError):
        roles.role_assignments.get(scope, name)


def test_the_same_assignment_under_another_name_exists_already(
    rehearsal: Rehearsal, roles: AuthorizationManagementClient, scope: str, newcomer: Newcomer
) -> None:
    first = str(uuid.uuid4())
    roles.role_assignments.create(scope, first, body(rehearsal, newcomer.object_id))
    with pytest.raises(ResourceExistsError, match="The role assignment already exists") as refused:
        roles.role_assignments.create(scope, str(uuid.uuid4()), body(rehearsal, newcomer.object_id))
    assert refused.value.error.code == "RoleAssignmentExists"
    assert first.replace("-", "") in str(refused.value)


def test_an_assignment_keeps_its_principal_and_role(
    rehearsal: Rehearsal, roles: AuthorizationManagementClient, scope: str, newcomer: Newcomer
) -> None:
    name = str(uuid.uuid4())
    roles.role_assignments.create(scope, name, body(rehearsal, newcomer.object_id))
    with pytest.raises(HttpResponseError, match="not allowed to be updated") as refused:
        roles.role_assignments.create(scope, name, body(rehearsal, OPERATOR_OBJECT_ID))
    assert refused.value.error.code == "RoleAssignmentUpdateNotPermitted"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"principalId": str(uuid.uuid4())}, "PrincipalNotFound"),
        ({"principalType": "Group"}, "UnmatchedPrincipalType"),
        ({"roleDefinitionId": f"/x/roleDefinitions/{uuid.uuid4()}"}, "RoleDefinitionDoesNotExist"),
    ],
)
def test_an_assignment_that_means_nothing_is_refused(
    rehearsal: Rehearsal,
    roles: AuthorizationManagementClient,
    scope: str,
    newcomer: Newcomer,
    changes: dict[str, str],
    code: str,
) -> None:
    with pytest.raises(HttpResponseError) as refused:
        roles.role_assignments.create(scope, str(uuid.uuid4()), body(rehearsal, newcomer.object_id, **changes))
    assert (refused.value.status_code, refused.value.error.code) == (400, code)


def test_an_assignment_needs_a_guid_and_a_scope_that_exists(
    rehearsal: Rehearsal, roles: AuthorizationManagementClient, scope: str, newcomer: Newcomer
) -> None:
    with pytest.raises(HttpResponseError) as refused:
        roles.role_assignments.create(scope, "not-a-guid", body(rehearsal, newcomer.object_id))
    assert refused.value.error.code == "InvalidRoleAssignmentId"
    for nowhere in (f"{scope}-not-there", f"{scope}/providers/Microsoft.KeyVault/vaults/not-there"):
        with pytest.raises(ResourceNotFoundError):
            roles.role_assignments.create(nowhere, str(uuid.uuid4()), body(rehearsal, newcomer.object_id))


def test_a_new_principal_is_unknown_for_a_while(slow: Rehearsal, send_slowly: Sender) -> None:
    _, _, object_id = make_service_principal(send_slowly)
    made = time.monotonic()
    scope = f"/subscriptions/{slow.subscription}"
    url = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=2022-04-01"
    wanted = {"properties": body(slow, object_id)}
    refused = send_slowly("PUT", url, wanted)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "PrincipalNotFound")
    assert object_id.replace("-", "") in refused.json()["error"]["message"]
    time.sleep(2.1 - (time.monotonic() - made))
    assert send_slowly("PUT", url, wanted).status_code == 201


# Enforcement


def test_a_reader_reads_and_does_not_write(send: Sender, scope: str, newcomer: Newcomer, grant: Grant) -> None:
    identity = f"{scope}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one?api-version=2024-11-30"
    send("PUT", identity, {"location": "westeurope"})
    assert send("GET", identity, credential=newcomer.credential).status_code == 403
    grant(scope, "Reader", newcomer.object_id)
    assert send("GET", identity, credential=newcomer.credential).status_code == 200
    for method in ("PUT", "PATCH", "DELETE"):
        answer = send(method, identity, {"location": "westeurope"}, credential=newcomer.credential)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AuthorizationFailed")
        assert newcomer.object_id in answer.json()["error"]["message"]


def test_a_contributor_writes_and_does_not_assign_roles(
    rehearsal: Rehearsal, send: Sender, scope: str, newcomer: Newcomer, grant: Grant
) -> None:
    grant(scope, "Contributor", newcomer.object_id)
    identity = f"{scope}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/two?api-version=2024-11-30"
    assert send("PUT", identity, {"location": "westeurope"}, credential=newcomer.credential).status_code == 201
    assignment = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=2022-04-01"
    wanted = {"properties": body(rehearsal, newcomer.object_id)}
    assert send("PUT", assignment, wanted, credential=newcomer.credential).status_code == 403


def test_a_role_in_one_group_says_nothing_of_another(
    rehearsal: Rehearsal, send: Sender, scope: str, newcomer: Newcomer, grant: Grant
) -> None:
    grant(scope, "Contributor", newcomer.object_id)
    other = f"{scope}-2"  # a name that begins with the first group's
    send("PUT", f"{other}?api-version=2025-04-01", {"location": "westeurope"})
    assert send("GET", f"{scope}?api-version=2025-04-01", credential=newcomer.credential).status_code == 200
    assert send("GET", f"{other}?api-version=2025-04-01", credential=newcomer.credential).status_code == 403
    assert rehearsal


def test_a_group_of_a_group_hands_its_role_down(
    rehearsal: Rehearsal, roles: AuthorizationManagementClient, send: Sender, scope: str, newcomer: Newcomer
) -> None:
    inner, outer = (_group(send) for _ in range(2))
    for parent, member in ((outer, inner), (inner, newcomer.object_id)):
        reference = {"@odata.id": f"{GRAPH}/directoryObjects/{member}"}
        assert send("POST", f"{GRAPH}/groups/{parent}/members/$ref", reference).status_code == 204
    roles.role_assignments.create(scope, str(uuid.uuid4()), body(rehearsal, outer, principalType="Group"))
    assert send("GET", f"{scope}?api-version=2025-04-01", credential=newcomer.credential).status_code == 200
    found = roles.role_assignments.list_for_scope(scope, filter=f"assignedTo('{newcomer.object_id}')")
    assert [one.principal_id for one in found] == [outer]
    send("DELETE", f"{GRAPH}/groups/{inner}/members/{newcomer.object_id}/$ref")
    assert send("GET", f"{scope}?api-version=2025-04-01", credential=newcomer.credential).status_code == 403


def test_who_may_not_read_a_scope_does_not_see_its_assignments(send: Sender, scope: str, newcomer: Newcomer) -> None:
    url = f"{scope}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01"
    assert send("GET", url, credential=newcomer.credential).status_code == 403


def _group(send: Sender) -> str:
    name = f"group-{uuid.uuid4().hex[:8]}"
    wanted = {"displayName": name, "mailNickname": name, "mailEnabled": False, "securityEnabled": True}
    return str(send("POST", f"{GRAPH}/groups", wanted).json()["id"])


def test_a_condition_says_which_roles_may_be_assigned(
    rehearsal: Rehearsal, roles: AuthorizationManagementClient, scope: str, newcomer: Newcomer
) -> None:
    administrator = "f58310d9-a9f6-439a-9e8d-f62e7b41a168"
    constrained = body(rehearsal, newcomer.object_id, administrator, condition=ONLY_ACR_PULL, conditionVersion="2.0")
    roles.role_assignments.create(scope, str(uuid.uuid4()), constrained)
    pull, read, others = str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
    roles.role_assignments.create(scope, others, body(rehearsal, OPERATOR_OBJECT_ID))
    with AuthorizationManagementClient(newcomer.credential, rehearsal.subscription, **rehearsal.transport) as theirs:
        theirs.role_assignments.create(scope, pull, body(rehearsal, newcomer.object_id, ACR_PULL))
        with pytest.raises(HttpResponseError, match=r"perform action .*roleAssignments/write"):
            theirs.role_assignments.create(scope, read, body(rehearsal, newcomer.object_id))
        with pytest.raises(HttpResponseError, match=r"perform action .*roleAssignments/delete"):
            theirs.role_assignments.delete(scope, others)
        assert theirs.role_assignments.delete(scope, pull) is not None
