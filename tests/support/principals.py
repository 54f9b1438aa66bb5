"""Service principals with the rights that a test gives them, and their sessions."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.session import Session
from rehearsal_cloud.entra.directory import GRAPH_OBJECT_ID
from rehearsal_cloud.entra.permissions import APP_ROLES
from rehearsal_cloud.resource_manager.built_in_roles import ROLES
from tests.support.azure_requests import GRAPH, Sender, make_service_principal, when_replicated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.session import Mode
    from tests.support.rehearsal import Rehearsal

ROLE_ADMINISTRATOR = "Role Based Access Control Administrator"
_IDS = {role.name: role.id for role in ROLES}


def principal_of(
    rehearsal: Rehearsal,
    session: Session,
    roles: Iterable[tuple[str, str]],
    permissions: Iterable[str] = (),
    mode: Mode = "check",
    *,
    condition: str | None = None,
) -> Session:
    """A session, in the environment of `session`, of a new service principal.

    It has roles at scopes, of which the one that assigns roles has the condition, and application permissions of
    Microsoft Graph.
    """
    subscription = f"/subscriptions/{rehearsal.subscription}"
    with ExitStack() as opened:
        send = Sender(rehearsal, rehearsal.credential(), opened)
        client_id, secret, object_id = make_service_principal(send)
        for role, scope in roles:
            properties = {
                "roleDefinitionId": f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{_IDS[role]}",
                "principalId": object_id,
                "principalType": "ServicePrincipal",
                "condition": condition if role == ROLE_ADMINISTRATOR else None,
                "conditionVersion": "2.0",
            }
            url = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=2022-04-01"
            answer = when_replicated(partial(send, "PUT", url, {"properties": properties}))
            assert answer.status_code == 201, answer.text()
        for permission in permissions:
            body = {"principalId": object_id, "resourceId": GRAPH_OBJECT_ID, "appRoleId": APP_ROLES[permission]}
            url = f"{GRAPH}/servicePrincipals/{object_id}/appRoleAssignments"
            answer = when_replicated(partial(send, "POST", url, body))
            assert answer.status_code == 201, answer.text()
    connection = replace(session.connection, credential=rehearsal.credential(client_id, secret), secrets=())
    return Session(session.environment, mode, connection)
