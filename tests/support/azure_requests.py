"""Plain requests to Azure, and the principals that send them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from azure.core import PipelineClient
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, ProxyPolicy
from azure.core.rest import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from azure.core.credentials import TokenCredential

    from tests.support.rehearsal import Rehearsal

GRAPH = "https://graph.microsoft.com/v1.0"


MANAGEMENT = "https://management.azure.com"


_SCOPES = {
    "graph.microsoft.com": "https://graph.microsoft.com/.default",
    "management.azure.com": "https://management.azure.com/.default",
}


class Sender:
    """Sends requests, once each, and returns the answer whatever it is."""

    def __init__(self, rehearsal: Rehearsal, credential: TokenCredential, opened: ExitStack) -> None:
        self._rehearsal = rehearsal
        self._credential = credential
        self._opened = opened
        self._clients: dict[tuple[int, str], PipelineClient[HttpRequest, HttpResponse]] = {}

    def __call__(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        credential: TokenCredential | None = None,
        scope: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> HttpResponse:
        """Send as the operator, or as another; a path is one of Resource Manager's. An empty `scope` sends no token."""
        url = url if url.startswith("https://") else MANAGEMENT + url
        scope = _SCOPES[url.split("/")[2]] if scope is None else scope
        client = self._client(credential or self._credential, scope)
        return client.send_request(HttpRequest(method, url, json=body, headers=headers))

    def _client(self, credential: TokenCredential, scope: str) -> PipelineClient[HttpRequest, HttpResponse]:
        key = (id(credential), scope)
        if key not in self._clients:
            transport = self._rehearsal.transport
            policies: list[Any] = [ProxyPolicy(proxies=transport["proxies"])]
            if scope:
                policies.append(BearerTokenCredentialPolicy(credential, scope))
            made = PipelineClient("", policies=policies, connection_verify=transport["connection_verify"])
            self._clients[key] = self._opened.enter_context(made)
        return self._clients[key]


@dataclass(frozen=True)
class Newcomer:
    """A service principal that may do nothing yet."""

    object_id: str
    client_id: str
    credential: TokenCredential


def make_service_principal(send: Sender) -> tuple[str, str, str]:
    """Return client ID, secret and object ID of a service principal made through Graph."""
    application = send("POST", f"{GRAPH}/applications", {"displayName": "newcomer"}).json()
    url = f"{GRAPH}/applications/{application['id']}/addPassword"
    secret = when_replicated(lambda: send("POST", url, {})).json()["secretText"]
    body = {"appId": application["appId"]}
    made = when_replicated(lambda: send("POST", f"{GRAPH}/servicePrincipals", body)).json()
    return application["appId"], secret, made["id"]


def when_replicated(ask: Callable[[], HttpResponse]) -> HttpResponse:
    """Return the first answer that is no error, at the latest the one after a minute.

    Until all replicas of the directory have a new object, some services and requests do not find it.
    """
    deadline = time.monotonic() + 60
    while (answer := ask()).status_code >= 400 and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


class Grant(Protocol):
    """Assigns a built-in role, by name, at a scope."""

    def __call__(self, scope: str, role: str, object_id: str) -> None: ...
