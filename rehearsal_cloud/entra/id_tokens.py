"""The claims of an application about a user who signed in.

Sources: https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference,
https://learn.microsoft.com/entra/identity-platform/optional-claims-reference#v20-specific-optional-claims-set, and for
groups https://learn.microsoft.com/entra/identity/hybrid/connect/how-to-connect-fed-group-claims: of the groups that are
assigned to the application only those that the user is a direct member of, and none where a token would have over 200.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from rehearsal_cloud.entra.app_role_assignments import assigned_to
from rehearsal_cloud.entra.sign_in_error import AUTHORITY
from rehearsal_cloud.home import TENANT_ID

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra, Principal

_MOST_GROUPS = 200
_OPTIONAL = {"upn": "userPrincipalName", "given_name": "givenName", "family_name": "surname"}


def id_token_claims(entra: Entra, client: Principal, user: Principal, sign_in: Document) -> Document:
    """Return the claims of a v2.0 ID token; `sign_in` has the scopes and the nonce of the request."""
    profile = entra.store.get("users", user.object_id) or {}
    properties = (entra.store.get("applications", client.app_id) or {}).get("properties") or {}
    optional = {claim["name"] for claim in (properties.get("optionalClaims") or {}).get("idToken") or []}
    scopes = set(sign_in["scope"].split())
    claims: Document = {
        "aud": client.app_id,
        "iss": f"{AUTHORITY}/{TENANT_ID}/v2.0",
        "sub": pairwise(client, user),
        "tid": TENANT_ID,
        "ver": "2.0",
        "nonce": sign_in.get("nonce"),
    }
    if "profile" in scopes:
        claims |= {"name": profile.get("displayName"), "oid": user.object_id}
        claims |= {"preferred_username": profile.get("userPrincipalName")}
        claims |= {claim: profile.get(name) for claim, name in _OPTIONAL.items() if claim in optional}
    if "email" in scopes | optional:
        claims["email"] = profile.get("mail")
    claims |= _groups(entra, client, user, str(properties.get("groupMembershipClaims") or "None"))
    values = {role["id"]: role.get("value") for role in properties.get("appRoles") or []}
    roles = [values.get(assignment["appRoleId"]) for assignment in assignments_of(entra, client, user)]
    claims["roles"] = sorted({role for role in roles if role}) or None
    return {name: value for name, value in claims.items() if value is not None}


def pairwise(client: Principal, user: Principal) -> str:
    """Return the subject: an identifier of the user for this application alone."""
    digest = hashlib.sha256(f"{TENANT_ID} {client.app_id} {user.object_id}".encode()).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def assignments_of(entra: Entra, client: Principal, user: Principal) -> list[Document]:
    """Return the application's assignments of the user and of the groups that the user is a direct member of."""
    return [
        assignment
        for assignment in assigned_to(entra, client.object_id)
        if assignment["principalId"] == user.object_id or user.object_id in entra.members(assignment["principalId"])
    ]


def _groups(entra: Entra, client: Principal, user: Principal, memberships: str) -> Document:
    kinds = {name.strip() for name in memberships.split(",")}
    groups: set[str] = set()
    if kinds & {"All", "SecurityGroup"}:
        groups = entra.identities(user.object_id) - {user.object_id}
    elif "ApplicationGroup" in kinds:
        assigned = assignments_of(entra, client, user)
        groups = {assignment["principalId"] for assignment in assigned if assignment["principalType"] == "Group"}
    if len(groups) > _MOST_GROUPS:
        endpoint = f"https://graph.microsoft.com/v1.0/users/{user.object_id}/getMemberObjects"
        return {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": endpoint}}}
    return {"groups": sorted(groups)} if groups else {}
