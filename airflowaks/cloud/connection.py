"""The connection to the cloud: proxy, CA bundle and credential.

Only these differ between Azure, Azure behind a company proxy, and the rehearsal cloud.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple
from urllib.parse import urlsplit

from airflowaks.cloud.answers import note_host, refuse_web_page
from airflowaks.cloud.certificates import public_roots, with_public_roots
from airflowaks.cloud.once import Once
from airflowaks.cloud.redaction import Redactor, Secret
from airflowaks.errors import InvalidParameter, RehearsalUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests
    from azure.core.credentials import AccessToken, TokenCredential

    from airflowaks.config.environment import Environment

_SERVICE_CONNECTION = {
    "tenant_id": "AZURESUBSCRIPTION_TENANT_ID",
    "client_id": "AZURESUBSCRIPTION_CLIENT_ID",
    "service_connection_id": "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
    "system_access_token": "SYSTEM_ACCESSTOKEN",
}
"""Set by the AzureCLI task of Azure Pipelines for a service connection with workload identity federation."""

_RENEWAL_SECONDS = 300
"""A token is renewed so long before its end, as azure-core's BearerTokenCredentialPolicy does."""
AZ_SECONDS = 120
"""So long has `az` to give a token. One call takes 13 s on some machines, and 60 s are too few at times where several
run, as in the seven steps of 00_deploy; azure-identity's default is 10: https://github.com/Azure/azure-cli/issues/20404
and https://github.com/Azure/azure-sdk-for-python/issues/37167.
"""
_SOURCE_LOGIN = ("AIRFLOWAKS_SOURCE_USERNAME", "AIRFLOWAKS_SOURCE_TOKEN")

# It warns of each failure to get a token, which it raises anyway (`get_token_mixin.py`, azure-identity 1.27): that is a
# third line beside the two of the error.
logging.getLogger("azure.identity._internal").setLevel(logging.ERROR)

AFTER_JOINING = (
    "then run `az account clear` and `az login` for a new token. A managed identity has to join a day beforehand: Azure"
    " keeps its tokens for up to 24 hours."
)
"""How to get a token that knows of a new membership in a group; `az login` alone may return the old one.

https://github.com/Azure/azure-cli/issues/25442,
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/managed-identity-best-practice-recommendations
"""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Proxy, CA bundle and credential. `ca_bundle` is a file of root certificates beside the public ones."""

    credential: TokenCredential
    proxy: str | None = None
    ca_bundle: str | None = None
    secrets: tuple[Secret, ...] = ()
    """The secrets that the credential holds, for the redactor."""
    trace: Any = None
    """The policy of SDK clients that keeps what Azure answered, or None."""
    rehearses: bool = False
    """Whether it leads to a rehearsal cloud."""
    subscription: Once = field(default_factory=Once, repr=False, compare=False)
    """What checks have read of the subscription and do not read again: copies of this object share it."""
    pools: dict[tuple[str | None, ...], requests.Session] = field(default_factory=dict, repr=False, compare=False)
    """The HTTP connections by their proxy and CA bundle, which copies of this object share."""
    limits: ClassVar[dict[str, Any]] = {}
    """Retries and timeouts of SDK clients that are not the SDKs' own."""

    @cached_property
    def ca_file(self) -> str:
        """Return the file of root certificates for clients that need a file: the public ones and `ca_bundle`."""
        return str(with_public_roots(self.ca_bundle) if self.ca_bundle else public_roots())

    @property
    def _http(self) -> requests.Session:
        from airflowaks.cloud.transport import http_session

        key = (self.proxy, self.ca_bundle)
        if key not in self.pools:
            self.pools[key] = http_session(self.ca_file if self.ca_bundle else None, proxied=bool(self.proxy))
        return self.pools[key]

    @property
    def transport(self) -> dict[str, Any]:
        """Return the transport arguments of an SDK client. Clients share the connections, which stay open."""
        from azure.core.pipeline.transport import RequestsTransport

        arguments: dict[str, Any] = {"raw_request_hook": note_host, "raw_response_hook": refuse_web_page}
        arguments |= self.limits
        arguments["transport"] = RequestsTransport(session=self._http, session_owner=False, **self.limits)
        if self.proxy:
            arguments["proxies"] = {"http": self.proxy, "https": self.proxy}
        if self.trace:
            arguments["per_retry_policies"] = [self.trace]
        return arguments

    def stopped(self) -> RehearsalUnavailable | None:
        """Return the error for a rehearsal cloud that ended after the sign-in: its proxy ends first, a kill ends all.

        The next one after a reset has other ports, so that no session of before reaches it. Azure is not asked.
        """
        proxy = urlsplit(self.proxy or "")
        try:
            if self.rehearses:
                socket.create_connection((str(proxy.hostname), proxy.port or 0), timeout=1).close()
        except OSError:
            return RehearsalUnavailable(
                f"The rehearsal cloud at {self.proxy} was stopped or reset while this ran.",
                "Run `airflowaks rehearsal up`, then run the step again from its first cell; after a reset, begin at"
                " step 1.",
            )
        return None


class OneAtATime:
    """A credential that fetches one token at a time, keeps it, and passes it to the redactor.

    Clients share a token. azure-identity lets each thread that finds its cache empty fetch its own, and has no cache
    for `az login`: each client, and each request to a cluster, would start `az` (`AzureCliCredential.get_token` of
    azure-identity 1.27: "this credential doesn't cache the tokens it acquires").
    """

    def __init__(self, credential: Any, redactor: Redactor) -> None:
        self._credential = credential
        self._redactor = redactor
        self._lock = threading.Lock()
        self._tokens: dict[tuple[Any, ...], AccessToken] = {}

    def get_token(self, *scopes: str, **arguments: Any) -> AccessToken:
        """Return a token for `scopes`. Raises azure-core's ClientAuthenticationError."""
        key = (*scopes, *sorted(arguments.items()))
        with self._lock:
            if arguments.get("claims"):  # Entra has revoked the tokens from before
                self._tokens.clear()
            token = self._tokens.get(key)
            if token is None or token.expires_on - time.time() < _RENEWAL_SECONDS:
                token = self._tokens[key] = self._credential.get_token(*scopes, **arguments)
        self._redactor.learn(token.token)
        return token


@dataclass(frozen=True)
class Operator:
    """The signed-in principal from the access token's claims: Entra object ID, principal type and display name."""

    object_id: str
    kind: Literal["User", "ServicePrincipal"]
    name: str

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> Operator:
        """Return who has a token with these claims."""
        # Guests have no upn, but every token of a person, and no other, says what was consented to (scp).
        person = claims.get("idtyp") != "app" and "scp" in claims
        names = (claims.get(claim) for claim in ("app_displayname", "upn", "unique_name", "appid", "oid"))
        return cls(str(claims["oid"]), "User" if person else "ServicePrincipal", str(next(filter(None, names))))


class Login(NamedTuple):
    """A user of another registry, and its access token."""

    username: str
    token: Secret


def source_login() -> Login | None:
    """Return the login for `registry.source` from the environment variables, or None where they are not set.

    Raises InvalidParameter if only one of the two is set.
    """
    # Azure Pipelines keeps the text $(NAME) of a variable that is not defined:
    # https://learn.microsoft.com/azure/devops/pipelines/process/variables#understand-variable-syntax
    username, token = (os.environ.get(name, "").removeprefix(f"$({name})") for name in _SOURCE_LOGIN)
    if bool(username) != bool(token):
        missing, present = _SOURCE_LOGIN if token else reversed(_SOURCE_LOGIN)
        message = f"The environment variable {missing} is not set, though {present} is."
        raise InvalidParameter(message, "Set both to import `registry.source` with credentials, or neither.")
    return Login(username, Secret(token)) if token else None


def token_claims(token: str) -> dict[str, Any]:
    """Return the claims of an access token (RFC 7519), unverified: verification is up to the token's audience."""
    from base64 import urlsafe_b64decode

    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def azure_connection(environment: Environment) -> Connection:
    """Return the connection to Azure, with a pipeline's service connection, `az login` or a managed identity."""
    ca_bundle = str(environment.ca_bundle) if environment.ca_bundle else None
    anonymous = Connection(credential=None, proxy=environment.proxy, ca_bundle=ca_bundle)  # type: ignore[arg-type]
    service_connection = {argument: os.environ.get(name, "") for argument, name in _SERVICE_CONNECTION.items()}
    if all(service_connection.values()):
        # The task's `az` session expires after an hour; this credential gets a token whenever it needs one.
        from azure.identity import AzurePipelinesCredential

        credential = AzurePipelinesCredential(**service_connection, **anonymous.transport)
        return replace(anonymous, credential=credential, secrets=(Secret(service_connection["system_access_token"]),))
    from azure.identity import DefaultAzureCredential

    return replace(anonymous, credential=DefaultAzureCredential(process_timeout=AZ_SECONDS, **anonymous.transport))


def shared_connection() -> Callable[[Environment], Connection]:
    """Return `azure_connection` for several environments: those with the same proxy and CA share the tokens."""
    lock, connections = threading.Lock(), dict[Any, Connection]()

    def connect(environment: Environment) -> Connection:
        key = (environment.proxy, environment.ca_bundle)
        with lock:
            if key not in connections:
                connection = azure_connection(environment)
                credential = OneAtATime(connection.credential, Redactor())
                connections[key] = replace(connection, credential=credential)
            return connections[key]

    return connect


def rehearsal_connection() -> Connection:
    """Start the rehearsal cloud with its command line if it does not run, and sign in as its operator.

    Raises RehearsalUnavailable.
    """
    if sys.platform == "win32":
        message = "The rehearsal cloud does not run on Windows, only on Linux and macOS."
        raise RehearsalUnavailable(message, "Run env=local in WSL 2. All other environments run on Windows.")
    command = [sys.executable, "-m", "rehearsal_cloud", "up", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        from azure.identity import ClientSecretCredential  # 0.15 s, while the command runs

        output, errors = up.communicate()
    if up.returncode != 0:
        *_, message, action = ["", "it printed no error", *errors.strip().splitlines()]
        if action.startswith("→ "):  # its own two lines; all else is Python's
            raise RehearsalUnavailable(message, action.removeprefix("→ "))
        install = "Install it with `pip install 'airflowaks[rehearsal]'`, or run `airflowaks rehearsal status`."
        raise RehearsalUnavailable(f"The rehearsal cloud did not start: {action}", install)
    settings = json.loads(output)
    anonymous = Connection(
        credential=None,  # type: ignore[arg-type]
        proxy=settings["HTTPS_PROXY"],
        ca_bundle=settings["REQUESTS_CA_BUNDLE"],
    )
    secret = Secret(settings["AZURE_CLIENT_SECRET"])
    credential = ClientSecretCredential(
        settings["AZURE_TENANT_ID"], settings["AZURE_CLIENT_ID"], secret.reveal(), **anonymous.transport
    )
    return replace(anonymous, credential=credential, secrets=(secret,), rehearses=True)
