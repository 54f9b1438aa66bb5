"""Service principals with the rights that a test gives them, and their sessions."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.session import Session
from airflowaks.steps import cluster, key_vault
from rehearsal_cloud.entra.directory import GRAPH_OBJECT_ID
from rehearsal_cloud.entra.permissions import APP_ROLES
from rehearsal_cloud.resource_manager.built_in_roles import ROLES
from tests.support.azure_requests import GRAPH, Sender, make_service_principal, when_replicated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.session import Mode
    from tests.support.rehearsal import Rehearsal

ROLE_ADMINISTRATOR = "Role Based Access Control Administrator"
READING_GRAPH = ("GroupMember.Read.All", "Application.Read.All", "Directory.Read.All")
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
    credential = rehearsal.credential(*new_principal(rehearsal, roles, permissions, condition=condition))
    return Session(session.environment, mode, replace(session.connection, credential=credential, secrets=()))


def reading(session: Session) -> list[tuple[str, str]]:
    """Return the roles, with their scopes, that docs/security.md names for a check; `session` has run step 4."""
    managed_cluster, vault = session.memoize(cluster.Resources).cluster, session.memoize(key_vault.Resources).vault
    return [
        ("Reader", f"/subscriptions/{session.environment.subscription_id}"),
        ("Azure Kubernetes Service Cluster User Role", managed_cluster.id),
        ("Azure Kubernetes Service RBAC Reader", managed_cluster.id),
        ("Key Vault Reader", vault.id),
    ]


def new_principal(
    rehearsal: Rehearsal,
    roles: Iterable[tuple[str, str]],
    permissions: Iterable[str] = (),
    *,
    condition: str | None = None,
) -> tuple[str, str]:
    """Return client ID and secret of a new service principal, with what `principal_of` says."""
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
    return client_id, secret
