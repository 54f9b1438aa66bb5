"""The application that people sign in to: made once, used as it is where it exists, left out where it is not wanted."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.rest import HttpRequest

from airflowaks.azure.entra import send
from airflowaks.engine.changes import Action, Changes
from airflowaks.engine.converge import converge
from airflowaks.errors import NameTaken
from airflowaks.preflight.run import preflight
from airflowaks.session import Session, open_session
from airflowaks.steps import airflow, cluster, teardown, workload_identity
from tests.support.deployment import describe_environment, is_write
from tests.support.principals import principal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from airflowaks.preflight.rows import Row
    from tests.support.rehearsal import Rehearsal
    from tests.support.world import Server

KINDS = ("Entra application", "service principal", "assigned groups", "consent", "sign-in credential")
WRITTEN = {**dict.fromkeys(KINDS[:4], "create"), "assigned groups": "update"}
WITH_PASSWORD = "\nairflow: {login: password}\n"
CLIENT_ID = "99999999-9999-4999-8999-999999999999"
APPLICATIONS = ("/applications", "/servicePrincipals", "/oauth2PermissionGrants")


@pytest.fixture
def open_here(
    rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_name: str
) -> Callable[..., Session]:
    """Opens sessions on an environment of the test's own."""
    monkeypatch.setenv("AIRFLOWAKS_HOME", str(rehearsal.home))
    monkeypatch.chdir(tmp_path)

    def open_one(mode: Any = "apply", more: str = "") -> Session:
        describe_environment(tmp_path, group_name, more)
        return open_session(group_name, mode)

    return open_one


def reopened(session: Session, folder: Path, more: str) -> Session:
    """A session on the environment after an edit: without the ready-made users, and with `more`."""
    file = folder / "manifests" / "environments" / f"{session.environment.name}.yaml"
    file.write_text(file.read_text().partition("# The rehearsal's ready-made users")[0] + more)
    return open_session(session.environment.name)


def register(session: Session) -> Changes:
    """The parts of the steps that make the sign-in, but for the credential, which takes a cluster."""
    return cluster.groups(session) + cluster.sign_in(session)


def registrations(session: Session) -> list[dict[str, Any]]:
    query = {"$filter": f"displayName eq '{session.environment.entra.application}'"}
    found: list[dict[str, Any]] = send(session, "GET", "/applications", params=query)["value"]
    return found


def items_of(session: Session, path: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = send(session, "GET", path)["value"]
    return listed


def actions(changes: Iterable[Any]) -> dict[str, str]:
    return {change.kind: change.action.value for change in changes if change.kind in KINDS}


def requests_of(rehearsal: Rehearsal, since: int, parts: Iterable[str] = APPLICATIONS) -> list[str]:
    entries = rehearsal.requests()[since:]
    return [each["path"] for each in entries if any(part in each["path"] for part in parts)]


def test_step_1_registers_it_once_and_a_second_run_writes_nothing(
    rehearsal: Rehearsal, open_here: Callable[..., Session]
) -> None:
    session, earlier = open_here(), open_here()
    assert str(airflow.access(earlier)).count("nobody yet") == 3
    assert actions(register(session)) == WRITTEN
    step = session.memoize(cluster.Resources)
    (application,) = registrations(session)
    assert application["appId"] == step.client_id
    assert application["web"]["redirectUris"] == ["http://localhost/auth/oauth-authorized/azure"]
    assert not application["passwordCredentials"]
    before = len(rehearsal.requests())
    assert {change.action for change in register(open_here())} == {Action.NONE}
    assert not [entry["path"] for entry in rehearsal.requests()[before:] if is_write(entry)]
    config = json.loads(str(airflow._sign_in(session)))
    roles = [[group["displayName"], *config["roles"][group["id"]]] for group in groups(session, config["roles"])]
    name = session.environment.name
    assert sorted(roles) == [
        [f"airflow-{name}-admins", "Admin"],
        [f"airflow-{name}-developers", "Op"],
        [f"airflow-{name}-viewers", "Viewer"],
    ]
    assert config["client_id"] == application["appId"]
    for told in map(str, map(airflow.access, (session, earlier))):
        assert "viewer@rehearsal.onmicrosoft.com" in told


def groups(session: Session, ids: Iterable[str]) -> list[dict[str, Any]]:
    return [send(session, "GET", f"/groups/{each}") for each in ids]


@pytest.mark.broad
def test_two_operators_at_once_make_one(open_here: Callable[..., Session]) -> None:
    sessions = [open_here() for _ in range(3)]
    cluster.groups(sessions.pop())
    for session in sessions:  # so that the first requests of both are those for the application
        _ = session.operator, session.graph
    with ThreadPoolExecutor(len(sessions)) as pool:
        changes = list(pool.map(cluster.sign_in, sessions))
    assert {change.name for made in changes for change in made} == {sessions[0].environment.entra.application}
    step = open_here().memoize(cluster.Resources)
    assert len(registrations(step.group.session)) == 1
    assert len(step.assigned_groups.read()["groups"]) == 3
    query = {"$filter": f"clientId eq '{step.service_principal.id}'"}
    assert len(send(step.group.session, "GET", "/oauth2PermissionGrants", params=query)["value"]) == 1


@pytest.mark.broad
def test_the_api_servers_tokens_stand_in_for_a_secret(rehearsal_server: Server) -> None:
    def write() -> Changes:
        session = Session(rehearsal_server.environment, "apply", rehearsal_server.connection)
        return converge(session, *session.memoize(workload_identity.Resources).sign_in)

    (made,) = write()
    assert (made.action, made.name) == (Action.CREATE, "airflow-api-server")
    assert [change.action for change in write()] == [Action.NONE]
    session = Session(rehearsal_server.environment, "apply", rehearsal_server.connection)
    credential, step1 = session.memoize(workload_identity.Resources).sign_in[0], session.memoize(cluster.Resources)
    assert credential.facts is not None
    assert credential.facts["issuer"] == step1.cluster.fact("properties.oidcIssuerProfile.issuerURL")
    send(session, "PATCH", credential.id, json={"issuer": "https://another.example.com/"})
    assert [each.path for change in write() for each in change.differences] == ["issuer"]


@pytest.mark.broad
def test_another_s_application_of_the_name_is_not_trusted_and_stays(open_here: Callable[..., Session]) -> None:
    session = open_here()
    name = session.environment.entra.application
    made = send(session, "POST", "/applications", json={"displayName": name, "description": "The platform team's"})
    refused = open_here()
    cluster.groups(refused)
    with pytest.raises(NameTaken, match=rf"{name}: the application {made['appId']} of this name was not made for this"):
        cluster.sign_in(refused)
    assert sign_in_row(open_here("plan")).verdict == "stops"
    with pytest.raises(NameTaken):
        airflow._sign_in(open_here())
    assert not items_of(session, f"/servicePrincipals?$filter=appId eq '{made['appId']}'")
    (application,) = registrations(session)
    assert (application["id"], application["groupMembershipClaims"]) == (made["id"], None)
    planned = teardown.everything(open_here("plan"), confirm="")
    assert actions(planned) == {"Entra application": "keep"}
    send(session, "DELETE", f"/applications/{made['id']}")


@pytest.mark.broad
def test_the_teardown_removes_it_with_all_that_is_its_own(open_here: Callable[..., Session]) -> None:
    register(open_here())
    session = open_here()
    principal = session.memoize(cluster.Resources).service_principal.id
    gone = teardown.everything(session, confirm=session.environment.name)
    assert "Entra application" in {change.kind for change in gone if change.applied}
    assert not registrations(session)
    answer = session.graph.send_request(HttpRequest("GET", session.graph.format_url(f"/servicePrincipals/{principal}")))
    assert answer.status_code == 404
    assert actions(register(open_here())) == WRITTEN
    teardown.everything(open_here(), confirm=session.environment.name)


@pytest.mark.broad
def test_a_teardown_removes_what_an_earlier_sign_in_left_and_nobody_else_s(
    rehearsal: Rehearsal, tmp_path: Path, open_here: Callable[..., Session]
) -> None:
    register(open_here())
    theirs = {"displayName": open_here().environment.entra.application, "description": "somebody else's"}
    send(open_here(), "POST", "/applications", json=theirs)
    session = reopened(open_here(), tmp_path, WITH_PASSWORD)
    reader = [("Reader", f"/subscriptions/{rehearsal.subscription}")]
    stranger = principal_of(rehearsal, session, reader, ["GroupMember.Read.All"], "plan")
    planned = [
        {change.kind for change in teardown.everything(each, confirm="") if change.action is Action.DELETE}
        for each in (stranger, Session(session.environment, "plan", session.connection))
    ]
    assert planned == [{"Entra group"}, {"Entra group", "Entra application"}]
    teardown.everything(session, confirm=session.environment.name)
    assert [each["description"] for each in registrations(session)] == ["somebody else's"]
    assert not teardown.checks(session).failed


@pytest.mark.broad
@pytest.mark.parametrize("more", [f"\nentra: {{application_id: {CLIENT_ID}}}\n", WITH_PASSWORD])
def test_without_an_application_of_its_own_it_asks_graph_for_none(
    rehearsal: Rehearsal, tmp_path: Path, open_here: Callable[..., Session], more: str
) -> None:
    session = reopened(open_here(), tmp_path, more)
    before = len(rehearsal.requests())
    register(session)
    told = sign_in_row(session)
    assert not requests_of(rehearsal, before)
    assert not session.memoize(workload_identity.Resources).sign_in
    config = json.loads(str(airflow._sign_in(session)))
    assert told.verdict == "ok"
    assert (config.get("client_id"), told.seen) in {
        (CLIENT_ID, f"with the application {CLIENT_ID}, which an administrator of the tenant has made"),
        (None, "with the password of admin alone"),
    }


def sign_in_row(session: Session) -> Row:
    (row,) = [each for each in preflight(session).rows if each.check == "sign-in to Airflow"]
    return row


@pytest.mark.broad
def test_the_preflight_says_what_an_administrator_has_to_make(
    rehearsal: Rehearsal, open_here: Callable[..., Session]
) -> None:
    session = open_here("plan")
    stranger = principal_of(rehearsal, session, [], ["Group.Create", "GroupMember.Read.All"], "apply")
    told = sign_in_row(stranger)
    assert told.verdict == "stops"
    assert told.seen.startswith(
        "the application lacks Application.ReadWrite.OwnedBy and AppRoleAssignment.ReadWrite.All"
    )
    for words in (
        "http://localhost/auth/oauth-authorized/azure",
        "system:serviceaccount:airflow:airflow-api-server",
        f"the groups airflow-{session.environment.name}-admins, ",
        "`entra.application_id`",
    ):
        assert words in told.action
    permissions = ("Application.ReadWrite.OwnedBy", "AppRoleAssignment.ReadWrite.All")
    both = [*permissions, "DelegatedPermissionGrant.ReadWrite.All", "Group.Create", "GroupMember.Read.All"]
    registrar = principal_of(rehearsal, session, [], both, "apply")
    told = sign_in_row(registrar)
    assert (told.verdict, told.seen.partition(";")[0]) == ("ok", ", ".join([*permissions, both[2]]))
    converge(registrar, *registrar.memoize(cluster.Resources).groups)
    assert actions(cluster.sign_in(registrar)) == WRITTEN


@pytest.mark.broad
def test_who_may_not_read_it_is_told_the_permission(rehearsal: Rehearsal, open_here: Callable[..., Session]) -> None:
    register(open_here())
    reader = principal_of(rehearsal, open_here("check"), [], ["GroupMember.Read.All"])
    unread = {change.unread for change in cluster.sign_in(reader)}
    assert unread == {"a permission of Microsoft Graph to read applications, such as Application.Read.All"}
