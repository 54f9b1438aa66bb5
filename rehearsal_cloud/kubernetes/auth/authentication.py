"""Authentication: the user of a request, from its bearer token.

Three kinds of token are valid: Entra's for the AKS server application, those of the cluster's service accounts, and
the administrator's static token while the cluster has local accounts. AKS allows no anonymous access.
https://learn.microsoft.com/azure/aks/concepts-identity
"""

from __future__ import annotations

import hmac
from contextlib import suppress
from typing import TYPE_CHECKING

from rehearsal_cloud.entra.directory import AKS_SERVER
from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.kubernetes.auth.rbac import AUTHENTICATED, MASTERS, User
from rehearsal_cloud.kubernetes.auth.service_tokens import InvalidToken
from rehearsal_cloud.kubernetes.failures import Failure

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra, Principal
    from rehearsal_cloud.kubernetes.auth.service_tokens import ServiceTokens

_ADMINISTRATOR = User("masterclient", groups=(MASTERS, AUTHENTICATED))


class Authentication:
    """Identifies the users of a cluster by their tokens; `cluster` is the managed cluster's current document."""

    def __init__(self, entra: Entra, tokens: ServiceTokens) -> None:
        self._entra = entra
        self._tokens = tokens

    def user(self, authorization: str, cluster: Document) -> User:
        """Return the user of the `Authorization` header. Raises Failure (401) for an invalid token."""
        scheme, _, token = authorization.partition(" ")
        identified = self._user(token.strip(), cluster) if scheme.lower() == "bearer" else None
        if identified is None:
            raise Failure(401, "Unauthorized", "Unauthorized")
        return identified

    def _user(self, token: str, cluster: Document) -> User | None:
        properties = cluster["properties"]
        if not properties["disableLocalAccounts"] and hmac.compare_digest(
            token.encode(), cluster["_secret"]["token"].encode()
        ):
            return _ADMINISTRATOR
        with suppress(InvalidToken):
            return self._tokens.verify(token)[0]
        if not properties.get("aadProfile"):
            return None
        try:
            principal = self._entra.verify(f"Bearer {token}", AKS_SERVER)
        except ServiceError:
            return None
        return self._entra_user(principal)

    def _entra_user(self, principal: Principal) -> User:
        """Return the user of a principal: AKS names people by user principal name, other principals by object ID."""
        identities = self._entra.identities(principal.object_id) - {principal.object_id}
        name = principal.name if principal.kind == "User" else principal.object_id
        return User(
            name,
            uid=principal.object_id,
            groups=(*sorted(identities), AUTHENTICATED),
            extra={"oid": (principal.object_id,)},
        )
