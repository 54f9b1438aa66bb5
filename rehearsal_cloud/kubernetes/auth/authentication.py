"""Authentication: whose request it is, from its bearer token.

Three kinds of token are good: Entra's for the AKS server application, those of the cluster's own service accounts, and
the administrator's static one while the cluster has local accounts. Nobody is anonymous on AKS.
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
    """Knows the users of one cluster by their tokens; `cluster` is the managed cluster's document, always as it is."""

    def __init__(self, entra: Entra, tokens: ServiceTokens) -> None:
        self._entra = entra
        self._tokens = tokens

    def user(self, authorization: str, cluster: Document) -> User:
        """Return who presents the `Authorization` header. Raises Failure (401) where it proves nobody."""
        scheme, _, token = authorization.partition(" ")
        found = self._user(token.strip(), cluster) if scheme.lower() == "bearer" else None
        if found is None:
            raise Failure(401, "Unauthorized", "Unauthorized")
        return found

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
        """Return a principal as AKS names it: a user by their user principal name, any other by its object ID."""
        identities = self._entra.identities(principal.object_id) - {principal.object_id}
        name = principal.name if principal.kind == "User" else principal.object_id
        return User(
            name,
            uid=principal.object_id,
            groups=(*sorted(identities), AUTHENTICATED),
            extra={"oid": (principal.object_id,)},
        )
