"""The tokens of a container registry: an Entra token buys a refresh token, that buys an access token with a scope.

https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md, https://distribution.github.io/distribution/spec/auth/token
"""

from __future__ import annotations

import hmac
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

import jwt

from rehearsal_cloud.entra.directory import CONTAINER_REGISTRY
from rehearsal_cloud.errors import RegistryError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Principal
    from rehearsal_cloud.resource_manager.cloud import Cloud

AUTHENTICATION_REQUIRED = "authentication required, visit https://aka.ms/acr/authorization for more information."
_ISSUER = "Azure Container Registry"
_REFRESH_SECONDS = 3 * 3600
_ACCESS_SECONDS = 75 * 60
_REGISTRY = "Microsoft.ContainerRegistry/registries"
_SCOPE = re.compile(r"(?P<type>repository|registry):(?P<name>[^:]+):(?P<actions>[\w,*]+)")
# The permission of a scope's action: of Resource Manager, and, for a registry in ABAC mode, of the data plane.
_PERMISSIONS = {
    "pull": ("pull/read", "repositories/content/read"),
    "metadata_read": ("pull/read", "repositories/metadata/read"),
    "*": ("pull/read", "catalog/read"),
    "delete": ("artifacts/delete", "repositories/content/delete"),
}


class RegistryTokens:
    """Issues and verifies the tokens of the registry with the resource `registry`; `key` signs them."""

    def __init__(self, cloud: Cloud, registry: Document, key: RSAPrivateKey) -> None:
        self._cloud = cloud
        self._registry = registry
        self._key = key
        self._service = str(registry["properties"]["loginServer"])

    def challenge(self, scope: str = "") -> str:
        """Return the WWW-Authenticate header with the token endpoint and the scope."""
        scope_part = f',scope="{scope}"' if scope else ""
        return f'Bearer realm="https://{self._service}/oauth2/token",service="{self._service}"{scope_part}'

    def exchange(self, form: Mapping[str, str]) -> tuple[str, str]:
        """Return the object ID of an Entra token's principal, and a refresh token. Raises RegistryError (401)."""
        try:
            principal = self._cloud.entra.verify(f"Bearer {form.get('access_token', '')}", CONTAINER_REGISTRY)
        except ServiceError as error:
            raise RegistryError(401, "UNAUTHORIZED", error.message) from None
        return principal.object_id, self._sign(principal.object_id, {"grant_type": "refresh_token"}, _REFRESH_SECONDS)

    def access(self, form: Mapping[str, str]) -> tuple[str, str]:
        """Return the holder of a refresh token or of the admin password, and an access token for the scope.

        Raises RegistryError (401) for invalid credentials, or where the roles do not cover the scope.
        """
        scopes = [_SCOPE.fullmatch(text) for text in form.get("scope", "").split()]
        access = [
            {"type": scope["type"], "name": scope["name"], "actions": scope["actions"].split(",")}
            for scope in scopes
            if scope
        ]
        actions = {action for entry in access for action in entry["actions"]}
        holder = self._admin(form)
        if holder is None:
            claims = self._claims(form.get("refresh_token", "")) or {}
            principal = self._cloud.entra.principal(str(claims.get("sub")))
            if claims.get("grant_type") != "refresh_token" or principal is None:
                raise RegistryError(401, "UNAUTHORIZED", AUTHENTICATION_REQUIRED)
            if not all(self._allows(principal, action) for action in actions):
                raise RegistryError(401, "UNAUTHORIZED", AUTHENTICATION_REQUIRED)
            holder = principal.object_id
        return holder, self._sign(holder, {"grant_type": "access_token", "access": access}, _ACCESS_SECONDS)

    def holder(self, authorization: str, scope: str = "") -> str | None:
        """Return the holder (object ID or admin user) of an access token valid for `scope`, or None."""
        scheme, _, token = authorization.partition(" ")
        claims = self._claims(token) if scheme.lower() == "bearer" else None
        if claims is None or claims["grant_type"] != "access_token":
            return None
        kind, name, action = scope.split(":") if scope else ("", "", "")
        granted = any(
            entry["type"] == kind and entry["name"] == name and action in entry["actions"] for entry in claims["access"]
        )
        return str(claims["sub"]) if granted or not scope else None

    def _admin(self, form: Mapping[str, str]) -> str | None:
        name, password = form.get("username", ""), form.get("password", "")
        passwords = self._registry["_secret"].values()
        matches = any(hmac.compare_digest(password.encode(), secret.encode()) for secret in passwords)
        enabled = self._registry["properties"]["adminUserEnabled"]
        return name if enabled and matches and name.lower() == self._registry["name"].lower() else None

    def _allows(self, principal: Principal, action: str) -> bool:
        permissions = _PERMISSIONS.get(action)
        if permissions is None:
            return False
        by_data = self._registry["properties"]["roleAssignmentMode"] == "AbacRepositoryPermissions"
        permission = f"{_REGISTRY}/{permissions[by_data]}"
        return self._cloud.authorization.allows(principal, permission, self._registry["id"], data=by_data)

    def _sign(self, holder: str, claims: dict[str, Any], seconds: int) -> str:
        now = int(time.time())
        common = {"jti": str(uuid.uuid4()), "sub": holder, "iss": _ISSUER, "aud": self._service}
        return jwt.encode({**common, "iat": now, "nbf": now, "exp": now + seconds, **claims}, self._key, "RS256")

    def _claims(self, token: str) -> dict[str, Any] | None:
        try:
            return jwt.decode(
                token, self._key.public_key(), algorithms=["RS256"], audience=self._service, issuer=_ISSUER
            )
        except jwt.InvalidTokenError:
            return None
