"""login.microsoftonline.com: discovery, keys and the token endpoint.

Grants: `client_credentials`, and for a user who signed in `authorization_code` and `refresh_token`, each with a secret
or with a federated assertion (https://learn.microsoft.com/entra/workload-id/workload-identity-federation). Error codes
and messages are Entra's.
"""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus

import jwt
from starlette.responses import JSONResponse
from starlette.routing import Route

from rehearsal_cloud.entra.directory import AUDIENCES, TOKEN_SECONDS, Principal
from rehearsal_cloud.entra.sign_in_error import AUTHORITY, SignInError
from rehearsal_cloud.entra.sign_in_page import SignInPage
from rehearsal_cloud.entra.sign_ins import SignIns, check_tenant, client_of
from rehearsal_cloud.home import TENANT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra
    from rehearsal_cloud.store import Store

_GRANTS = ("client_credentials", "authorization_code", "refresh_token")
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Login:
    """The token service's HTTP endpoints. `issuer_keys` returns the JWKS of an external issuer, or None.

    `pages` is the address of the pages for browsers, which neither use the rehearsal's proxy nor trust its CA.
    """

    def __init__(self, entra: Entra, store: Store, issuer_keys: Callable[[str], Document | None], pages: str) -> None:
        self._entra = entra
        self._store = store
        self._issuer_keys = issuer_keys
        self._pages = pages
        self._sign_ins = SignIns(entra, store)

    def routes(self) -> list[Route]:
        """Return the routes that the identity libraries use, and browsers."""
        return [
            *self.page_routes(),
            Route("/common/discovery/instance", self._instance),
            Route("/{tenant}/discovery/v2.0/keys", self._keys),
            Route("/{tenant}/discovery/keys", self._keys),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration),
            Route("/{tenant}/.well-known/openid-configuration", self._configuration),
            Route("/{tenant}/oauth2/v2.0/token", self._token, methods=["POST"]),
            Route("/{tenant}/oauth2/token", self._token, methods=["POST"]),
        ]

    def page_routes(self) -> list[Route]:
        """Return the routes of the pages."""
        return SignInPage(self._entra, self._sign_ins).routes()

    async def _instance(self, _request: Request) -> JSONResponse:
        aliases = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]
        return JSONResponse(
            {
                "tenant_discovery_endpoint": f"{AUTHORITY}/{TENANT_ID}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [
                    {"preferred_network": aliases[0], "preferred_cache": "login.windows.net", "aliases": aliases}
                ],
            }
        )

    async def _keys(self, _request: Request) -> JSONResponse:
        return JSONResponse(self._entra.jwks())

    async def _configuration(self, request: Request) -> JSONResponse:
        try:
            check_tenant(request.path_params["tenant"])
        except SignInError as error:
            return error.response()
        base = f"{AUTHORITY}/{TENANT_ID}"
        return JSONResponse(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{self._pages}/{TENANT_ID}/oauth2/v2.0/authorize",
                "end_session_endpoint": f"{self._pages}/{TENANT_ID}/oauth2/v2.0/logout",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "claims_supported": ["sub", "iss", "aud", "exp", "iat", "tid", "ver", "oid"],
                "cloud_instance_name": "microsoftonline.com",
                "cloud_graph_host_name": "graph.windows.net",
                "msgraph_host": "graph.microsoft.com",
                "tenant_region_scope": "EU",
            }
        )

    async def _token(self, request: Request) -> JSONResponse:
        form = dict(parse_qsl((await request.body()).decode()))
        scheme, _, basic = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":  # RFC 6749, 2.3.1
            client_id, _, secret = base64.b64decode(basic).decode().partition(":")
            form |= {"client_id": unquote_plus(client_id), "client_secret": unquote_plus(secret)}
        try:
            check_tenant(request.path_params["tenant"])
            principal = self._client(form)
            if form["grant_type"] != "client_credentials":
                return JSONResponse(self._sign_ins.tokens(principal, form))
            audience = _audience(form)
        except SignInError as error:
            return error.response()
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "ext_expires_in": TOKEN_SECONDS,
            "access_token": self._entra.mint(principal, audience),
        }
        if "resource" in form:  # the v1 endpoint says when, in text
            now = int(time.time())
            answer |= {"expires_on": str(now + TOKEN_SECONDS), "not_before": str(now), "resource": form["resource"]}
        return JSONResponse(answer)

    def _client(self, form: Mapping[str, str]) -> Principal:
        if form.get("grant_type") not in _GRANTS:
            text = f"The app requested an unsupported grant type '{form.get('grant_type', '')}'."
            raise SignInError(400, "unsupported_grant_type", 70003, text)
        client_id = form.get("client_id", "").lower()
        principal = client_of(self._entra, client_id)
        if form.get("client_assertion_type") == _JWT_BEARER:
            self._check_assertion(client_id, form.get("client_assertion", ""))
        elif "client_secret" not in form:
            text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
            raise SignInError(401, "invalid_client", 7000218, text)
        else:
            self._check_secret(client_id, form["client_secret"])
        return principal

    def _check_secret(self, client_id: str, secret: str) -> None:
        password = self._entra.password(client_id, secret)
        if password is None:
            text = (
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret"
                f" value, not the client secret ID, for a secret added to app '{client_id}'."
            )
            raise SignInError(401, "invalid_client", 7000215, text)
        end = password.get("about", {}).get("endDateTime")
        if end is not None and datetime.fromisoformat(end) <= datetime.now(UTC):
            text = (
                f"The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create"
                " new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials."
            )
            raise SignInError(401, "invalid_client", 7000222, text)

    def _check_assertion(self, client_id: str, assertion: str) -> None:
        """Check issuer, subject and audience against the federated credentials, then the issuer's signature."""
        try:
            claims = jwt.decode(assertion, options={"verify_signature": False})
            header = jwt.get_unverified_header(assertion)
        except jwt.InvalidTokenError:
            raise SignInError(401, "invalid_client", 50027, "JWT token is invalid or malformed.") from None
        issuer, subject = str(claims.get("iss", "")), str(claims.get("sub", ""))
        audience = claims.get("aud", "")
        audiences = [audience] if isinstance(audience, str) else list(audience)
        now = time.time()
        trusted = [
            credential["properties"]
            for credential in self._store.scan("federated", f"{client_id}/")
            if credential.get("visible_at", 0.0) <= now
        ]
        if not any(credential["issuer"] == issuer for credential in trusted):
            text = (
                f"No matching federated identity record found for presented assertion issuer '{issuer}'. Please check"
                " your federated identity credential Subject, Audience and Issuer against the presented assertion."
                " https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
            )
            raise SignInError(401, "invalid_client", 700211, text)
        matching = (
            credential["subject"] == subject and set(credential["audiences"]) & set(audiences)
            for credential in trusted
            if credential["issuer"] == issuer
        )
        if not any(matching):
            text = (
                "No matching federated identity record found for presented assertion. Assertion Issuer:"
                f" '{issuer}'. Assertion Subject: '{subject}'. Assertion Audience: '{', '.join(audiences)}'."
                " https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
            )
            raise SignInError(401, "invalid_client", 700213, text)
        keys = self._issuer_keys(issuer)
        if keys is None:
            raise SignInError(400, "invalid_request", 90061, "Request to External OIDC endpoint failed.")
        key = next((candidate for candidate in keys["keys"] if candidate["kid"] == header.get("kid")), None)
        try:
            if key is None:
                raise jwt.InvalidSignatureError("no key of that ID")
            jwt.decode(assertion, jwt.PyJWK(key).key, algorithms=["RS256"], audience=audiences, issuer=issuer)
        except jwt.ExpiredSignatureError:
            text = "Client assertion is not within its valid time range."
            raise SignInError(401, "invalid_client", 700024, text) from None
        except jwt.InvalidTokenError:
            text = "Client assertion contains an invalid signature."
            raise SignInError(401, "invalid_client", 700027, text) from None


def _audience(form: Mapping[str, str]) -> str:
    scope = form.get("scope") or form.get("resource", "")
    names = [word.removesuffix("/.default").rstrip("/") for word in scope.split() if "://" in word or "/" in word]
    names = names or [scope.rstrip("/")]
    if names[0] not in AUDIENCES:
        text = f"The resource principal named {names[0]} was not found in the tenant named {TENANT_ID}."
        raise SignInError(400, "invalid_resource", 500011, text)
    json.loads(form.get("claims") or "{}")  # a challenge's claims must be JSON; nothing is asked for in them here
    return names[0]
