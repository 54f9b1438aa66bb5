"""The pages for browsers: a user signs in by a click on a name, and signs out.

Sources: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow#request-an-authorization-code and
https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc#send-a-sign-out-request. There are no passwords
and no sessions: each request to `/authorize` asks who signs in, as in a new private window.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from rehearsal_cloud.entra.graph_answers import SERVICE_PRINCIPAL
from rehearsal_cloud.entra.id_tokens import assignments_of
from rehearsal_cloud.entra.permission_grants import admin_consent
from rehearsal_cloud.entra.sign_in_error import SignInError
from rehearsal_cloud.entra.sign_ins import check_tenant, client_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra, Principal
    from rehearsal_cloud.entra.sign_ins import SignIns

_LOOPBACK = ("localhost", "127.0.0.1")
_MODES = {"query": "?", "fragment": "#", "form_post": ""}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; background: #f2f2f2; margin: 0 }
main { background: #fff; width: 24rem; margin: 10vh auto; padding: 2.5rem; box-shadow: 0 2px 6px #0003 }
h1 { font-size: 1.4rem; font-weight: 600; margin: 0 0 .5rem } p { color: #555; margin: 0 0 1rem }
button { display: block; width: 100%; padding: .7rem; border: 0; border-top: 1px solid #ddd; background: #fff;
  text-align: left; font: inherit; cursor: pointer } button:hover { background: #eef4fb }
small { display: block; color: #555 }
"""


class SignInPage:
    """Asks who signs in, and sends the browser back to the application with a code."""

    def __init__(self, entra: Entra, sign_ins: SignIns) -> None:
        self._entra = entra
        self._sign_ins = sign_ins

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        return [
            Route("/{tenant}/oauth2/v2.0/authorize", self._authorize, methods=["GET", "POST"]),
            Route("/{tenant}/oauth2/v2.0/logout", self._logout),
        ]

    async def _authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        try:
            check_tenant(request.path_params["tenant"])
            client = client_of(self._entra, query.get("client_id", "").lower())
            self._check_redirect_uri(client, query.get("redirect_uri", ""))
        except SignInError as error:
            return error.page()
        if refusal := _refused(query):
            return _sent_back(query, refusal)
        if request.method == "GET":
            return self._choice(client)
        user = self._entra.principal(dict(parse_qsl((await request.body()).decode())).get("user", ""))
        if user is None or user.kind != "User":
            return self._choice(client)
        try:
            self._check_access(client, user, set(query["scope"].split()))
        except SignInError as error:
            return error.page()
        return _sent_back(query, {"code": self._sign_ins.code(user, query)})

    def _registered_uris(self, client: Principal) -> list[str]:
        application = self._entra.store.get("applications", client.app_id) or {}
        uris: list[str] = application.get("properties", {}).get("web", {}).get("redirectUris", [])
        return uris

    def _check_redirect_uri(self, client: Principal, uri: str) -> None:
        if _without_port(uri) not in map(_without_port, self._registered_uris(client)):
            text = (
                f"The redirect URI '{uri}' specified in the request does not match the redirect URIs configured for the"
                f" application '{client.app_id}'. Make sure the redirect URI sent in the request matches one added to"
                " your application in the Azure portal. Navigate to https://aka.ms/redirectUriMismatchError to learn"
                " more about how to fix this."
            )
            raise SignInError(400, "invalid_request", 50011, text)

    def _check_access(self, client: Principal, user: Principal, scopes: set[str]) -> None:
        """Raise SignInError for a disabled application, and for a user who is not assigned where it requires that.

        Such an application also takes an administrator's consent:
        https://learn.microsoft.com/entra/identity-platform/howto-restrict-your-app-to-a-set-of-users. To any other one
        each user consents at the first sign-in, which is taken as done here.
        """
        settings = self._entra.store.get("service-principals", client.object_id) or SERVICE_PRINCIPAL
        if not settings["accountEnabled"]:
            text = f"Application '{client.app_id}'({client.name}) is disabled."
            raise SignInError(400, "unauthorized_client", 7000112, text)
        if not settings["appRoleAssignmentRequired"]:
            return
        if not assignments_of(self._entra, client, user):
            name = (self._entra.store.get("users", user.object_id) or {}).get("userPrincipalName", user.name)
            text = (
                f"Your administrator has configured the application {client.name} ('{client.app_id}') to block users"
                f" unless they are specifically granted ('assigned') access to the application. The signed in user"
                f" '{name}' is blocked because they are not a direct member of a group with access, nor had access"
                " directly assigned by an administrator. Please contact your administrator to assign access to this"
                " application."
            )
            raise SignInError(400, "invalid_grant", 50105, text)
        if not scopes <= admin_consent(self._entra, client.object_id):
            text = (
                f"{client.name} needs permission to access resources in your organization that only an admin can grant."
                " Please ask an admin to grant permission to this app before you can use it."
            )
            raise SignInError(400, "consent_required", 90094, text)

    def _choice(self, client: Principal) -> Response:
        users = [
            (user.object_id, self._entra.store.get("users", user.object_id) or {})
            for user in self._entra.principals("User")
        ]
        buttons = "".join(
            f'<button name="user" value="{object_id}">{html.escape(user.get("displayName", ""))}'
            f"<small>{html.escape(user.get('userPrincipalName', ''))}</small></button>"
            for object_id, user in users
        )
        text = f"to continue to {html.escape(client.name)}. This is the rehearsal cloud: nobody has a password."
        return _page("Pick an account", f'<p>{text}</p><form method="post">{buttons}</form>')

    async def _logout(self, request: Request) -> Response:
        """Send the browser to where the application wants, if that is registered; else say that it is done."""
        wanted = request.query_params.get("post_logout_redirect_uri", "")
        everybody = self._entra.principals("ServicePrincipal")
        uris = [_without_port(uri) for client in everybody for uri in self._registered_uris(client)]
        if wanted and _without_port(wanted) in uris:
            state = request.query_params.get("state")
            return RedirectResponse(f"{wanted}?{urlencode({'state': state})}" if state else wanted, 302)
        return _page("You signed out of your account", "<p>It's a good idea to close all browser windows.</p>")


def _without_port(uri: str) -> str:
    """Return a URI as it is compared: of http on the loopback the port does not count.

    https://learn.microsoft.com/entra/identity-platform/reply-url#localhost-exceptions.
    """
    parts = urlsplit(uri)
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return parts._replace(netloc=parts.hostname).geturl()
    return uri


def _refused(query: Mapping[str, str]) -> Document | None:
    """Return the error for a request that no user is asked about, or None."""
    if query.get("response_type") != "code":
        text = f"AADSTS700054: response_type '{query.get('response_type', '')}' is not enabled for the application."
        return {"error": "unsupported_response_type", "error_description": text}
    if not query.get("scope"):
        text = "AADSTS900144: The request body must contain the following parameter: 'scope'."
        return {"error": "invalid_request", "error_description": text}
    if query.get("prompt") == "none":
        text = "AADSTS50058: A silent sign-in request was sent but no user is signed in."
        return {"error": "login_required", "error_description": text}
    return None


def _sent_back(query: Mapping[str, str], answer: Document) -> Response:
    """Return to the application with an answer, in the response mode that it wants."""
    if "state" in query:
        answer = {**answer, "state": query["state"]}
    uri, mark = query["redirect_uri"], _MODES.get(query.get("response_mode", "query"), "?")
    if mark:
        return RedirectResponse(f"{uri}{'&' if mark == '?' and '?' in uri else mark}{urlencode(answer)}", 302)
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(str(value))}">' for name, value in answer.items()
    )
    form = f'<form method="post" action="{html.escape(uri)}">{fields}<button>Continue</button></form>'
    return _page("Working…", f"{form}<script>document.forms[0].submit()</script>")


def _page(title: str, content: str) -> HTMLResponse:
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    body = f"<!doctype html><html lang=en><head>{head}</head><body><main><h1>{title}</h1>{content}</main></body></html>"
    return HTMLResponse(body, headers={"Cache-Control": "no-store"})
