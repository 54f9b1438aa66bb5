"""What another process made a moment ago is waited for, and who may read is for Azure to say."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.azure.entra import Group
from airflowaks.azure.roles import Role
from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge
from airflowaks.errors import PermissionDenied
from airflowaks.session import Session
from airflowaks.steps import backend, cluster, key_vault

if TYPE_CHECKING:
    from airflowaks.azure.subscription import ResourceGroup
    from airflowaks.session import Mode
    from tests.support.rehearsal import Rehearsal

FORBIDDEN = {
    "methods": ["GET"],
    "path": "^/secrets/",
    "status": 403,
    "code": "ForbiddenByRbac",
    "message": "Caller is not authorized to perform action on resource.",
}


def another(session: Session, mode: Mode = "apply") -> Session:
    """A session as another process would open it."""
    return Session(session.environment, mode, session.connection)


def step_of(session: Session) -> key_vault.Resources:
    return session.memoize(key_vault.Resources)


def age(session: Session) -> None:
    """Let the assignment be from long ago."""
    access = step_of(session).access
    access._facts = {**(access.facts or {}), "createdOn": "2020-01-01T00:00:00Z"}


def test_a_role_that_an_earlier_run_assigned_is_waited_for(group: ResourceGroup, rehearsal: Rehearsal) -> None:
    key_vault.vault(group.session)
    rerun = another(group.session)
    rehearsal.control("POST", {**FORBIDDEN, "host": step_of(rerun).vault.name, "times": 3})

    (change,) = converge(rerun, step_of(rerun).jwt_secret)

    assert change.action is Action.CREATE
    assert [fault["matched"] for fault in rehearsal.control("GET")] >= [3]
    rehearsal.control("DELETE")


def test_a_role_of_long_ago_is_not(group: ResourceGroup, rehearsal: Rehearsal) -> None:
    key_vault.vault(group.session)
    rerun = another(group.session)
    age(rerun)
    rehearsal.control("POST", {**FORBIDDEN, "host": step_of(rerun).vault.name})
    started = time.monotonic()
    with pytest.raises(PermissionDenied, match="secret airflow-jwt-secret: Azure refused the request"):
        converge(rerun, step_of(rerun).jwt_secret)
    assert time.monotonic() - started < 60
    rehearsal.control("DELETE")


@pytest.mark.parametrize("later", [False, True])
def test_a_new_server_that_takes_no_administrators_yet_is_asked_again(
    group: ResourceGroup, rehearsal: Rehearsal, *, later: bool
) -> None:
    session = group.session
    cluster.groups(session)
    step = session.memoize(backend.Resources)
    fault = {
        "methods": ["PUT"],
        "path": f"/{step.server.name}/administrators/",
        "status": 409,
        "code": "AadAuthOperationCannotBePerformedWhenServerIsNotAccessible",
        "message": "The server is not in an accessible state to perform Azure AD Principal operation.",
        "times": 2,
        "later": later,
    }
    rehearsal.control("POST", fault)

    converge(session, step.server, step.administrator)

    assert [fault["matched"] for fault in rehearsal.control("GET")] >= [3]
    rehearsal.control("DELETE")
    assert step.administrator.facts is not None


def test_administrators_rules_and_groups_say_how_old_they_are(group: ResourceGroup) -> None:
    session = group.session
    cluster.groups(session)
    step = session.memoize(backend.Resources)
    made = Group(session, f"made-for-{group.name}", "a test's")
    converge(session, made, step.server, step.administrator, *step.firewall.values())

    rerun = another(session)
    seen, admins = rerun.memoize(backend.Resources), Group(rerun, made.name, made.description)

    assert seen.administrator.recently_written
    assert all(rule.recently_written for rule in seen.firewall.values())
    assert admins.recently_written
    assert not seen.server.recently_written
    for resource in (seen.administrator, admins):
        resource._facts = {**(resource.facts or {}), "systemData": {"createdAt": "2020-01-01T00:00:00.1234567Z"}}
    assert not seen.administrator.recently_written


def assign(group: ResourceGroup, scope: str) -> None:
    """Assign the operator the role that writes secrets, as an administrator of the organisation would."""
    session = group.session
    definition = f"/providers/Microsoft.Authorization/roleDefinitions/{Role.KEY_VAULT_SECRETS_OFFICER.definition}"
    properties = {
        "roleDefinitionId": f"/subscriptions/{session.environment.subscription_id}{definition}",
        "principalId": session.operator.object_id,
        "principalType": session.operator.kind,
    }
    body: Any = {"properties": properties}
    session.authorization.role_assignments.create(scope, str(uuid.uuid4()), body)


def test_secrets_are_read_with_an_inherited_role(group: ResourceGroup) -> None:
    session = group.session
    assign(group, group.id)
    converge(session, step_of(session).vault)
    writer = another(session)
    converge(writer, step_of(writer).jwt_secret)

    planning = another(session, "plan")
    access, secret = converge(planning, step_of(planning).access, step_of(planning).jwt_secret)

    assert (access.action, secret.action) == (Action.CREATE, Action.NONE)


def test_secrets_that_may_not_be_read_are_not_taken_for_absent(group: ResourceGroup) -> None:
    converge(group.session, step_of(group.session).vault)
    planning = another(group.session, "plan")
    with pytest.raises(PermissionDenied, match="secret airflow-jwt-secret: Azure refused the request") as caught:
        converge(planning, step_of(planning).jwt_secret)
    assert "Run step 4 with mode=apply, which assigns you Key Vault Secrets Officer" in caught.value.action
