"""Sign-ins of users: authorization codes, and the tokens that applications get for them.

Sources: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow and
https://learn.microsoft.com/entra/identity-platform/reference-error-codes. Codes and refresh tokens are kept as hashes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from rehearsal_cloud.entra.directory import GRAPH, ISSUER, TOKEN_SECONDS
from rehearsal_cloud.entra.id_tokens import id_token_claims, pairwise
from rehearsal_cloud.entra.sign_in_error import SignInError
from rehearsal_cloud.home import TENANT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra, Principal
    from rehearsal_cloud.store import Store

_CODE_SECONDS = 600
_REFRESH_SECONDS = 90 * 86_400
"""https://learn.microsoft.com/entra/identity-platform/refresh-tokens#token-lifetime."""


class SignIns:
    """The codes and the refresh tokens that were handed out."""

    def __init__(self, entra: Entra, store: Store) -> None:
        self._entra = entra
        self._store = store

    def code(self, user: Principal, query: Mapping[str, str]) -> str:
        """Return the code for a user who signed in with this request to `/authorize`."""
        names = ("client_id", "redirect_uri", "scope", "nonce", "code_challenge", "code_challenge_method")
        sign_in = {name: query.get(name) for name in names}
        return self._hand_out("codes", {**sign_in, "user": user.object_id}, _CODE_SECONDS)

    def tokens(self, client: Principal, form: Mapping[str, str]) -> Document:
        """Return the answer to a request of an application that has proved who it is. Raises SignInError."""
        redeems = form["grant_type"] == "authorization_code"
        sign_in = self._code(client, form) if redeems else self._refresh_token(client, form)
        user = self._entra.principal(sign_in["user"])
        if user is None:
            raise _invalid_grant(
                50034, f"The user account {sign_in['user']} does not exist in the {TENANT_ID} directory."
            )
        scopes = sign_in["scope"].split()
        answer: Document = {
            "token_type": "Bearer",
            "scope": sign_in["scope"],
            "expires_in": TOKEN_SECONDS,
            "ext_expires_in": TOKEN_SECONDS,
            "access_token": self._access_token(client, user, sign_in["scope"]),
        }
        if "offline_access" in scopes:
            kept = {name: sign_in[name] for name in ("client_id", "scope", "user")}
            answer["refresh_token"] = self._hand_out("refresh-tokens", kept, _REFRESH_SECONDS)
        if "openid" in scopes:
            answer["id_token"] = self._entra.sign(id_token_claims(self._entra, client, user, sign_in))
        return answer

    def _hand_out(self, collection: str, sign_in: Document, seconds: float) -> str:
        """Keep a sign-in under a new secret; forget those that have expired long ago, redeemed or not."""
        for key in self._store.keys(collection):
            kept = self._store.get(collection, key)
            if kept and kept["expires"] + seconds <= time.time():
                self._store.delete(collection, key)
        secret = secrets.token_urlsafe(48)
        self._store.put(collection, _hash(secret), {**sign_in, "expires": time.time() + seconds})
        return secret

    def _code(self, client: Principal, form: Mapping[str, str]) -> Document:
        """Return the sign-in that a code stands for, which is the end of the code."""
        key = _hash(form.get("code", ""))
        sign_in = self._checked("codes", key, client)
        if sign_in.get("redeemed"):
            text = (
                "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing"
                " refresh token."
            )
            raise _invalid_grant(54005, text)
        if form.get("redirect_uri") != sign_in["redirect_uri"]:
            text = (
                f"The reply address '{form.get('redirect_uri', '')}' does not match the reply address"
                f" '{sign_in['redirect_uri']}' provided when requesting Authorization code."
            )
            raise _invalid_grant(500112, text)
        if not _proves(form.get("code_verifier", ""), sign_in):
            text = "The Code_Verifier does not match the code_challenge supplied in the authorization request."
            raise _invalid_grant(501481, text)
        self._store.put("codes", key, {**sign_in, "redeemed": True})
        return sign_in

    def _refresh_token(self, client: Principal, form: Mapping[str, str]) -> Document:
        return self._checked("refresh-tokens", _hash(form.get("refresh_token", "")), client)

    def _checked(self, collection: str, key: str, client: Principal) -> Document:
        sign_in = self._store.get(collection, key)
        if sign_in is None or sign_in["client_id"].lower() != client.app_id:
            raise _invalid_grant(70000, "Provided grant is invalid or malformed.")
        if sign_in["expires"] <= time.time():
            raise _invalid_grant(
                70008, "The provided authorization code or refresh token has expired due to inactivity."
            )
        return sign_in

    def _access_token(self, client: Principal, user: Principal, scope: str) -> str:
        """Return a token for Microsoft Graph, the API that scopes without a name of another one are of."""
        claims = {
            "aud": GRAPH[1],
            "iss": ISSUER,
            "appid": client.app_id,
            "idtyp": "user",
            "oid": user.object_id,
            "scp": scope,
            "sub": pairwise(client, user),
            "tid": TENANT_ID,
            "ver": "1.0",
        }
        return self._entra.sign(claims)


def check_tenant(tenant: str) -> None:
    """Raise SignInError for a tenant that is not this one."""
    if tenant.lower() not in (TENANT_ID, "organizations", "common"):
        text = (
            f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the"
            " correct cloud."
        )
        raise SignInError(400, "invalid_request", 90002, text)


def client_of(entra: Entra, client_id: str) -> Principal:
    """Return the service principal of an application. Raises SignInError."""
    principal = entra.by_app_id(client_id)
    if principal is None:
        text = (
            f"Application with identifier '{client_id}' was not found in the directory '{TENANT_ID}'. This can"
            " happen if the application has not been installed by the administrator of the tenant."
        )
        raise SignInError(400, "unauthorized_client", 700016, text)
    return principal


def _proves(verifier: str, sign_in: Document) -> bool:
    """Tell whether the verifier is that of the request's challenge (RFC 7636); without a challenge there is none."""
    challenge = sign_in["code_challenge"]
    if not challenge:
        return not verifier
    proof = verifier
    if sign_in["code_challenge_method"] == "S256":
        proof = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    return hmac.compare_digest(proof, challenge)


def _invalid_grant(aadsts: int, text: str) -> SignInError:
    return SignInError(400, "invalid_grant", aadsts, text)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
