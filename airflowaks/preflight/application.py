"""The application that people sign in to: whether it exists, and whether the operator may make it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.applications import CALLBACK
from airflowaks.cloud.connection import token_claims
from airflowaks.engine.assessment import assess
from airflowaks.engine.changes import Action
from airflowaks.errors import NameTaken, PermissionDenied
from airflowaks.preflight.rows import Row
from airflowaks.session import GRAPH_SCOPE
from airflowaks.steps import cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.session import Session

_CHECK = "sign-in to Airflow"
# Who holds one of each, of which the first is the least, registers applications, assigns groups and consents for the
# tenant: https://learn.microsoft.com/graph/api/application-upsert, /serviceprincipal-post-approleassignedto,
# /oauth2permissiongrant-post
_PERMISSIONS = (
    ("Application.ReadWrite.OwnedBy", "Application.ReadWrite.All", "Directory.ReadWrite.All"),
    ("AppRoleAssignment.ReadWrite.All",),
    ("DelegatedPermissionGrant.ReadWrite.All", "Directory.ReadWrite.All"),
)
# https://learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference
DIRECTORY_ROLES = {
    "62e90394-69f5-4237-9190-012177145e10": "Global Administrator",
    "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3": "Application Administrator",
    "158c047a-c907-4556-b7ef-446551a6b5f7": "Cloud Application Administrator",
}


def registration(session: Session) -> Iterator[Row]:
    """Ask for the application; where step 1 has to make or change it, look up in the token whether the operator may."""
    environment, step = session.environment, session.memoize(cluster.Resources)
    if environment.airflow.login == "password":
        yield Row(_CHECK, "ok", f"with the password of {environment.airflow.admin} alone")
        return
    if step.application is None:
        seen = f"with the application {step.client_id}, which an administrator of the tenant has made"
        yield Row(_CHECK, "ok", seen)
        return
    name = step.application.name
    try:
        with session.translated(step.application):
            pending = [str(each) for each in step.sign_in if assess(each)[0] in (Action.CREATE, Action.UPDATE)]
        seen = f"step 1 writes {', '.join(pending)}" if pending else f"the application {name} exists"
    except NameTaken as error:
        yield Row(_CHECK, "stops", error.message, error.action)
        return
    except PermissionDenied:
        pending, seen = [name], f"the application {name} may not be read"
    if not pending:
        yield Row(_CHECK, "ok", seen)
        return
    claims = token_claims(session.token(GRAPH_SCOPE))
    roles = [DIRECTORY_ROLES[role] for role in claims.get("wids", ()) if role in DIRECTORY_ROLES]
    held = [[name for name in names if name in claims.get("roles", ())] for names in _PERMISSIONS]
    if roles or all(held):
        yield Row(_CHECK, "ok", f"{', '.join(roles or [names[0] for names in held])}; {seen}")
        return
    lacking = " and ".join(needed[0] for needed, names in zip(_PERMISSIONS, held, strict=True) if not names)
    person = session.operator.kind == "User"
    needs = "no role that manages applications" if person else f"the application lacks {lacking}"
    yield Row(_CHECK, "unknown" if person else "stops", f"{needs}; {seen}", _request(session))


def _request(session: Session) -> str:
    """Return what an administrator of the tenant has to make."""
    environment, step = session.environment, session.memoize(cluster.Resources)
    hosts = [f"https://{environment.airflow.host}"] if environment.airflow.host else []
    addresses = " and ".join(f"{address}{CALLBACK}" for address in ("http://localhost", *hosts))
    account = f"system:serviceaccount:{environment.cluster.namespace}:{cluster.SIGN_IN_ACCOUNT}"
    groups = ", ".join(group.name for group in step.groups)
    return (
        "Request the role Cloud Application Administrator, or ask an administrator of the tenant for two things: an"
        f" application registration with the redirect URIs {addresses}, groupMembershipClaims ApplicationGroup, the"
        " optional claims groups, upn, given_name and family_name of ID tokens, and a federated credential of the"
        f" cluster's issuer and {account}; and its service principal with assignment required, the groups {groups}"
        " assigned, and consent to openid and profile. Then set its client ID as `entra.application_id`"
        " (docs/security.md has the commands), or set `airflow.login: password`."
    )
