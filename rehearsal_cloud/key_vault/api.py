"""*.vault.azure.net: the data plane of every vault; it authenticates and authorises callers for `VaultSecrets`.

Source: https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses and .../rbac-guide;
the error messages are the service's, as its users report them.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import jwt
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal_cloud.backends.vault_secrets import VaultSecrets
from rehearsal_cloud.entra.directory import ISSUER, KEY_VAULT
from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.resource_manager.providers.key_vault import DNS_SUFFIX
from rehearsal_cloud.resource_manager.resource_types import find

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Principal
    from rehearsal_cloud.resource_manager.cloud import Cloud

Permission = Literal["get", "set", "list", "update", "delete", "recover", "purge", "backup", "restore"]
"""What an access policy grants."""

_API_VERSIONS = ("7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01")
_LARGEST_PAGE = 25
_CHALLENGE = {
    "WWW-Authenticate": (
        f'Bearer authorization="https://login.microsoftonline.com/{TENANT_ID}", resource="{KEY_VAULT[0]}"'
    )
}


@dataclass(frozen=True)
class _Call:
    """A request for a vault's secrets."""

    secrets: VaultSecrets
    name: str
    version: str
    body: Document


@dataclass(frozen=True)
class _Endpoint:
    """An operation: its path, its access policy permission, its RBAC data action, and its handler."""

    method: str
    path: str
    permission: Permission
    data_action: str
    serve: Callable[[_Call], Document | list[Document] | None]


_ENDPOINTS = (
    _Endpoint("GET", "/secrets", "list", "readMetadata/action", lambda call: call.secrets.live()),
    _Endpoint("POST", "/secrets/restore", "restore", "restore/action", lambda call: call.secrets.restore(call.body)),
    _Endpoint("PUT", "/secrets/{name}", "set", "setSecret/action", lambda call: call.secrets.set(call.name, call.body)),
    _Endpoint("DELETE", "/secrets/{name}", "delete", "delete", lambda call: call.secrets.delete(call.name)),
    _Endpoint(
        "GET", "/secrets/{name}/versions", "list", "readMetadata/action", lambda call: call.secrets.versions(call.name)
    ),
    _Endpoint("POST", "/secrets/{name}/backup", "backup", "backup/action", lambda call: call.secrets.backup(call.name)),
    _Endpoint(
        "GET",
        "/secrets/{name}/{version:path}",
        "get",
        "getSecret/action",
        lambda call: call.secrets.get(call.name, call.version),
    ),
    _Endpoint(
        "PATCH",
        "/secrets/{name}/{version:path}",
        "update",
        "update/action",
        lambda call: call.secrets.update(call.name, call.version, call.body),
    ),
    _Endpoint("GET", "/deletedsecrets", "list", "readMetadata/action", lambda call: call.secrets.deleted()),
    _Endpoint(
        "GET", "/deletedsecrets/{name}", "get", "readMetadata/action", lambda call: call.secrets.get_deleted(call.name)
    ),
    _Endpoint(
        "POST",
        "/deletedsecrets/{name}/recover",
        "recover",
        "recover/action",
        lambda call: call.secrets.recover(call.name),
    ),
    _Endpoint("DELETE", "/deletedsecrets/{name}", "purge", "purge/action", lambda call: call.secrets.purge(call.name)),
)


def _check_open(vault: Document) -> None:
    """Raise ServiceError (403) where the vault disables public network access: all callers use public networks."""
    if find(vault, "properties.publicNetworkAccess") == "Disabled":
        text = (
            "Public network access is disabled and request is not from a trusted service nor via an approved private"
            f" link.\r\nVault: {vault['name']};location={vault['location']}"
        )
        raise ServiceError(403, "Forbidden", text, inner="ForbiddenByConnection")


class Vault:
    """Serves the data plane of all vaults."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """Return the routes of every vault."""
        return [
            Route(path, self._serving(endpoint), methods=[endpoint.method])
            for endpoint in _ENDPOINTS
            for path in (endpoint.path, endpoint.path.removesuffix("/{version:path}"))
        ]

    def _serving(self, endpoint: _Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            vault = self._vault(request)
            principal = self._caller(request)
            request.state.principal = principal.object_id
            _check_open(vault)
            _check_version(request)
            name = request.path_params.get("name", "")
            self._check_allowed(endpoint, vault, principal, name)
            secrets = VaultSecrets(self._cloud.store, vault)
            version = request.path_params.get("version", "").rstrip("/")
            answer = endpoint.serve(_Call(secrets, name, version, await _body(request)))
            if answer is None:
                return Response(None, 204)
            return _page(request, answer) if isinstance(answer, list) else JSONResponse(answer)

        return serve

    def _vault(self, request: Request) -> Document:
        name = request.headers["host"].partition(".")[0].lower()
        vault = self._cloud.named(DNS_SUFFIX, name)
        if vault is None:  # a connection that was opened before the vault was deleted
            raise ServiceError(404, "VaultNotFound", f"The vault '{name}' was not found.")
        return vault

    def _caller(self, request: Request) -> Principal:
        header = request.headers.get("authorization", "")
        if not header:
            text = "AKV10000: Request is missing a Bearer or PoP token."
            raise ServiceError(401, "Unauthorized", text, headers=_CHALLENGE)
        try:
            return self._cloud.entra.verify(header, KEY_VAULT)
        except ServiceError as error:
            text = error.message
            if error.code == "InvalidAuthenticationTokenAudience":
                claims = jwt.decode(header.partition(" ")[2], options={"verify_signature": False})
                text = f"AKV10022: Invalid audience. Expected {KEY_VAULT[0]}, found: {claims['aud']}."
            raise ServiceError(401, "Unauthorized", text, headers=_CHALLENGE) from None

    def _check_allowed(self, endpoint: _Endpoint, vault: Document, principal: Principal, name: str) -> None:
        """Raise ServiceError (403) unless a role, or without RBAC an access policy, allows the caller's operation."""
        if not vault["properties"]["enableRbacAuthorization"]:
            self._check_policies(endpoint.permission, vault, principal)
            return
        action = f"Microsoft.KeyVault/vaults/secrets/{endpoint.data_action}"
        scope = f"{vault['id']}/secrets/{name}" if name else f"{vault['id']}/secrets"
        if not self._cloud.authorization.allows(principal, action, scope, data=True):
            text = (
                "Caller is not authorized to perform action on resource.\r\n"
                "If role assignments, deny assignments or role definitions were changed recently, please observe"
                " propagation time.\r\n"
                f"Caller: {_claims(principal)}\r\n"
                f"Action: '{action}'\r\n"
                f"Resource: '{_folded(scope)}'\r\n"
                "Assignment: (not found)\r\n"
                "DenyAssignmentId: null\r\n"
                "DecisionReason: null \r\n"
                f"Vault: {_place(vault)}\r\n"
            )
            raise ServiceError(403, "Forbidden", text, inner="ForbiddenByRbac")

    def _check_policies(self, permission: Permission, vault: Document, principal: Principal) -> None:
        """Raise ServiceError (403) unless an access policy of the caller or its groups grants the permission."""
        identities = self._cloud.entra.identities(principal.object_id)
        policies = [
            policy for policy in vault["properties"]["accessPolicies"] if policy["objectId"].lower() in identities
        ]
        granted = {grant.lower() for policy in policies for grant in policy["permissions"].get("secrets") or []}
        if not granted & {permission, "all"}:
            text = (
                f"The user, group or application '{_claims(principal)}' does not have secrets {permission} permission"
                f" on key vault '{_place(vault)}'. For help resolving this issue, please see"
                " https://go.microsoft.com/fwlink/?linkid=2125287"
            )
            raise ServiceError(403, "Forbidden", text, inner="ForbiddenByPolicy" if policies else "AccessDenied")


def _claims(principal: Principal) -> str:
    return f"appid={principal.app_id};oid={principal.object_id};iss={ISSUER}"


def _place(vault: Document) -> str:
    return f"{vault['name']};location={vault['location'].replace(' ', '').lower()}"


def _folded(scope: str) -> str:
    """Return the scope in Key Vault's format: Azure's segments in lower case, names unchanged."""
    folded = scope.replace("/resourceGroups/", "/resourcegroups/")
    return folded.replace("/Microsoft.KeyVault/", "/microsoft.keyvault/")


def _check_version(request: Request) -> None:
    version = request.query_params.get("api-version", "")
    if version not in _API_VERSIONS:
        text = (
            f"The specified version ({version}) is not recognized. Consider using the latest supported version"
            f" ({_API_VERSIONS[-1]})."
        )
        raise ServiceError(400, "BadParameter", text)


def _page(request: Request, items: list[Document]) -> JSONResponse:
    """Answer a page; the next page begins after its last ID."""
    maximum = request.query_params.get("maxresults", str(_LARGEST_PAGE))
    if not maximum.isdecimal() or not 1 <= int(maximum) <= _LARGEST_PAGE:
        raise ServiceError(
            400, "BadParameter", f"The 'maxresults' must be from 1 to {_LARGEST_PAGE}, and is {maximum}."
        )
    after = _unpacked(request.query_params.get("$skiptoken", ""))
    left = [item for item in items if item["id"].lower() > after]
    page, more = left[: int(maximum)], left[int(maximum) :]
    link = None
    if more:
        token = quote(base64.urlsafe_b64encode(page[-1]["id"].lower().encode()).decode())
        query = f"api-version={request.query_params['api-version']}&$skiptoken={token}&maxresults={maximum}"
        link = f"https://{request.headers['host'].partition(':')[0]}:443{request.url.path}?{query}"
    return JSONResponse({"value": page, "nextLink": link})


async def _body(request: Request) -> Document:
    if request.method in ("GET", "DELETE") or not await request.body():
        return {}
    try:
        body: Any = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ServiceError(400, "BadParameter", "The request body is not a JSON object.")
    return body


def _unpacked(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ServiceError(400, "BadParameter", "The skip token is not valid.") from None
