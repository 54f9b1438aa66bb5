"""A client of this rehearsal that signs in as its operator and returns each answer as it is."""

from __future__ import annotations

import json
import re
import ssl
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit

from rehearsal_cloud.certificates import serves
from rehearsal_cloud.comparison.differences import Answer
from rehearsal_cloud.home import OPERATOR_CLIENT_ID, TENANT_ID

if TYPE_CHECKING:
    from email.message import Message

    from rehearsal_cloud.home import Home, Settings

_TOKENS = f"https://login.microsoftonline.com/{TENANT_ID}/oauth2/v2.0/token"
_AUDIENCES = {
    "management.azure.com": "https://management.azure.com",
    "graph.microsoft.com": "https://graph.microsoft.com",
    "vault.azure.net": "https://vault.azure.net",
    "azurecr.io": "https://management.azure.com",
}
_UNAUTHORIZED = 401
_SCOPE = re.compile(r'service="([^"]*)",scope="([^"]*)"')


class Client:
    """Sends requests through the rehearsal's proxy, each on a connection of its own."""

    def __init__(self, home: Home, settings: Settings) -> None:
        proxy = urllib.request.ProxyHandler({"https": f"http://127.0.0.1:{settings.proxy_port}"})
        context = ssl.create_default_context(cafile=str(home.proxy_ca_file(settings)))
        self._opener = urllib.request.build_opener(proxy, urllib.request.HTTPSHandler(context=context))
        self._secret = settings.operator_secret
        self._tokens: dict[str, str] = {}

    def send(self, method: str, url: str, body: Any, *, signed_in: bool) -> Answer | None:
        """Return the answer, or None where the host has no address. A registry's challenge is met."""
        token = self._token(url) if signed_in else ""
        answer = self._send(method, url, body, token)
        challenge = _SCOPE.search(answer.headers.get("www-authenticate", "")) if answer and signed_in else None
        if answer and answer.status == _UNAUTHORIZED and challenge:
            return self._send(method, url, body, self._registry_token(challenge[1], challenge[2], token))
        return answer

    def _send(self, method: str, url: str, body: Any, token: str) -> Answer | None:
        # A trace has no headers of requests: the runbook creates Graph's objects by their keys, as this one says.
        headers = {"Content-Type": "application/json", "Prefer": "create-if-missing"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(quote(url, safe=":/?&=$%,"), data, headers, method=method)  # noqa: S310 - https
        try:
            with self._opener.open(request, timeout=60) as response:
                return _answer(response.status, response.headers, response.read())
        except HTTPError as refusal:
            return _answer(refusal.code, refusal.headers, refusal.read())
        except OSError:  # the proxy's word for a host that does not resolve
            return None

    def _token(self, url: str) -> str:
        host = urlsplit(url).netloc
        audience = next((each for suffix, each in _AUDIENCES.items() if host.endswith(suffix)), "")
        if audience and audience not in self._tokens:
            form = {"grant_type": "client_credentials", "client_id": OPERATOR_CLIENT_ID, "client_secret": self._secret}
            self._tokens[audience] = self._form(_TOKENS, scope=f"{audience}/.default", **form)["access_token"]
        return self._tokens.get(audience, "")

    def _registry_token(self, service: str, scope: str, token: str) -> str:
        """Exchange a token: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md."""
        base = f"https://{service}/oauth2"
        form = {"grant_type": "access_token", "service": service, "access_token": token}
        refresh = self._form(f"{base}/exchange", **form)["refresh_token"]
        form = {"grant_type": "refresh_token", "service": service, "scope": scope, "refresh_token": refresh}
        return str(self._form(f"{base}/token", **form)["access_token"])

    def _form(self, url: str, **fields: str) -> Any:
        with self._opener.open(url, urlencode(fields).encode(), timeout=60) as response:
            return json.load(response)


def served(host: str) -> bool:
    """Return whether the rehearsal stands in for `host`, as a service of Azure that takes the operator's tokens."""
    return serves(host) and not host.endswith((".blob.core.windows.net", ".docker.io"))


def _answer(status: int, headers: Message[str, str], content: bytes) -> Answer:
    is_json = "json" in headers.get("Content-Type", "")
    body = json.loads(content) if is_json and content else None
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)
