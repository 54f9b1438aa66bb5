"""Who is signed in, with which roles on Azure and rights in Entra, and whether this machine's clock is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.roles import allows, held_roles
from airflowaks.azure.subscription import ask_subscription, seconds_ahead
from airflowaks.cloud.connection import token_claims
from airflowaks.errors import PermissionDenied
from airflowaks.preflight.rows import Row
from airflowaks.session import GRAPH_SCOPE
from airflowaks.steps import cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.session import Session

# Entra takes client assertions and services tokens that are this much too early or too late (believed).
_SKEW_SECONDS = 300
_NOT_FOUND = 404
_ACTIONS = (
    "Microsoft.Resources/subscriptions/resourceGroups/write",
    "Microsoft.ManagedIdentity/userAssignedIdentities/write",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write",
    "Microsoft.ContainerService/managedClusters/write",
    "Microsoft.ContainerRegistry/registries/write",
    "Microsoft.ContainerRegistry/registries/importImage/action",
    "Microsoft.DBforPostgreSQL/flexibleServers/write",
    "Microsoft.Cache/redisEnterprise/write",
    "Microsoft.KeyVault/vaults/write",
    "Microsoft.Authorization/roleAssignments/write",
)
# https://learn.microsoft.com/graph/api/group-post-groups#permissions; who creates a group with Group.Create owns it.
_APPLICATION_PERMISSIONS = {"Group.Create", "Group.ReadWrite.All", "Directory.ReadWrite.All"}
# https://learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference
_DIRECTORY_ROLES = {
    "62e90394-69f5-4237-9190-012177145e10": "Global Administrator",
    "9360feb5-f418-4baa-8175-e2a00bac4301": "Directory Writers",
    "fdd7a751-b60b-444a-984c-02652fe8fa1c": "Groups Administrator",
    "fe930be7-5e62-47db-91af-98c3a49a38b1": "User Administrator",
}


def sign_in(session: Session) -> Iterator[Row]:
    """Ask for the operator, the subscription and the time."""
    operator, environment, response = session.operator, session.environment, ask_subscription(session)
    if response.status_code == _NOT_FOUND:
        message = (
            f"{operator.name} sees no subscription {environment.subscription_id} in tenant {environment.tenant_id}"
        )
        yield Row("signed in", "stops", message, "Correct `subscription_id`, or request a role on the subscription.")
        return
    response.raise_for_status()
    subscription = response.json()
    seen = f"{operator.name}, in the subscription {subscription['displayName']}"
    if (state := subscription["state"]) in ("Enabled", "PastDue"):
        yield Row("signed in", "ok", seen)
    else:
        action = "Reactivate the subscription in the portal: nothing can be created in it."
        yield Row("signed in", "stops", f"{seen}, which is {state}", action)
    ahead = seconds_ahead(response)
    seen = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} Azure's"
    if abs(ahead) <= _SKEW_SECONDS:
        yield Row("this machine's clock", "ok", seen)
    else:
        yield Row("this machine's clock", "stops", seen, "Set the clock: tokens are refused, or used too long.")


def roles(session: Session) -> Iterator[Row]:
    """Ask which roles the operator has on the resource group, or where there is none, on the subscription."""
    group = session.memoize(cluster.Resources).group
    definitions = held_roles(
        session, group.id if group.facts else f"/subscriptions/{session.environment.subscription_id}"
    )
    names = ", ".join(sorted({definition["roleName"] for definition in definitions})) or "none"
    missing = [action for action in _ACTIONS if not allows(definitions, action)]
    if not missing:
        yield Row("roles on Azure", "ok", names)
        return
    action = "Request Owner, or Contributor with User Access Administrator, on the subscription (docs/security.md)."
    yield Row("roles on Azure", "stops", f"{names}; that does not allow {', '.join(missing)}", action)


def directory(session: Session) -> Iterator[Row]:
    """Look up the groups, and in the token whether the operator may create and change groups.

    Claims: https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference. Whether a user without a
    role may create groups is a setting of the tenant, which few may read.
    """
    claims = token_claims(session.token(GRAPH_SCOPE))
    permissions = {*claims.get("roles", ())} & _APPLICATION_PERMISSIONS
    held = sorted(
        {*permissions, *(_DIRECTORY_ROLES[role] for role in claims.get("wids", ()) if role in _DIRECTORY_ROLES)}
    )
    step = session.memoize(cluster.Resources)
    try:
        with session.translated(step.admins):
            absent = [group.name for group in step.groups if group.facts is None]
        groups = f"step 1 creates {', '.join(absent)}" if absent else "all groups exist"
    except PermissionDenied:
        absent, groups = [step.admins.name, step.developers.name], "nor may it read them"
    action = "Request the role Groups Administrator in Entra, or for an application Group.Create of Microsoft Graph."
    if held:
        yield Row("rights in Entra", "ok", f"{', '.join(held)}; {groups}")
    elif not absent:
        yield Row("rights in Entra", "warns", f"{groups}; their members can be changed by their owners only", action)
    elif session.operator.kind == "User":
        yield Row("rights in Entra", "unknown", f"no role that manages groups; {groups}", action)
    else:
        yield Row("rights in Entra", "stops", f"no permission that manages groups; {groups}", action)
