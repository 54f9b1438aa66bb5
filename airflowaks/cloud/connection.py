"""How the cloud is reached, and who signs in: proxy, CA bundle and credential.

Nothing else differs between Azure, Azure behind a company's proxy, and the rehearsal cloud.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from airflowaks.cloud.redaction import Redactor, Secret
from airflowaks.errors import RehearsalUnavailable

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

    from airflowaks.config.environment import Environment

_SERVICE_CONNECTION = {
    "tenant_id": "AZURESUBSCRIPTION_TENANT_ID",
    "client_id": "AZURESUBSCRIPTION_CLIENT_ID",
    "service_connection_id": "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
    "system_access_token": "SYSTEM_ACCESSTOKEN",
}
"""What the task AzureCLI of Azure Pipelines says of a service connection with workload identity federation."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How the cloud is reached, and who signs in. `ca_bundle` is a file's path, or None for the system's own CAs."""

    credential: TokenCredential
    proxy: str | None = None
    ca_bundle: str | None = None
    secrets: tuple[Secret, ...] = ()
    """What is signed in with, where this program was told: it is kept out of all that prints."""

    @property
    def transport(self) -> dict[str, Any]:
        """Return the arguments that every SDK client takes."""
        arguments: dict[str, Any] = {}
        if self.proxy:
            arguments["proxies"] = {"http": self.proxy, "https": self.proxy}
        if self.ca_bundle:
            arguments["connection_verify"] = self.ca_bundle
        return arguments


class OneAtATime:
    """A credential that fetches one token at a time, and tells the redactor each.

    So clients which start side by side share the first one: the credentials of azure-identity keep tokens, but let
    every thread that finds none fetch its own.
    """

    def __init__(self, credential: Any, redactor: Redactor) -> None:
        self._credential = credential
        self._redactor = redactor
        self._lock = threading.Lock()

    def get_token(self, *scopes: str, **arguments: Any) -> AccessToken:
        """Return a token for `scopes`. Raises azure-core's ClientAuthenticationError."""
        with self._lock:
            token: AccessToken = self._credential.get_token(*scopes, **arguments)
        self._redactor.learn(token.token)
        return token


@dataclass(frozen=True)
class Operator:
    """Who is signed in, as the access token says: Entra object ID, kind of principal, and a name for people."""

    object_id: str
    kind: Literal["User", "ServicePrincipal"]
    name: str


def token_claims(token: str) -> dict[str, Any]:
    """Return what an access token says; it is not verified, that is for the service it is for (RFC 7519)."""
    from base64 import urlsafe_b64decode

    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def azure_connection(environment: Environment) -> Connection:
    """Return how Azure is reached, signed in as a pipeline's connection, `az login` or a managed identity says."""
    ca_bundle = str(environment.ca_bundle) if environment.ca_bundle else None
    reach = Connection(credential=None, proxy=environment.proxy, ca_bundle=ca_bundle)  # type: ignore[arg-type]
    given = {argument: os.environ.get(name, "") for argument, name in _SERVICE_CONNECTION.items()}
    if all(given.values()):
        # `az` of the pipeline's task signs in once, for an hour; this asks for a token whenever one is needed.
        from azure.identity import AzurePipelinesCredential

        token = Secret(given["system_access_token"])
        return replace(reach, credential=AzurePipelinesCredential(**given, **reach.transport), secrets=(token,))
    from azure.identity import DefaultAzureCredential

    return replace(reach, credential=DefaultAzureCredential(**reach.transport))


def rehearsal_connection() -> Connection:
    """Start the rehearsal cloud where it does not run yet, by its own command line, and sign in as its operator.

    Raises RehearsalUnavailable.
    """
    from azure.identity import ClientSecretCredential

    if sys.platform == "win32":
        message = "The rehearsal cloud runs on Linux and macOS, and this is Windows."
        raise RehearsalUnavailable(message, "Run env=local inside WSL 2; every other environment works from here.")
    command = [sys.executable, "-m", "rehearsal_cloud", "up", "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        action = "Install it with `pip install 'airflowaks[rehearsal]'`, or see `python -m rehearsal_cloud status`."
        raise RehearsalUnavailable(f"The rehearsal cloud did not start: {reason}", action)
    settings = json.loads(done.stdout)
    reach = {"proxy": settings["HTTPS_PROXY"], "ca_bundle": settings["REQUESTS_CA_BUNDLE"]}
    transport = Connection(credential=None, **reach).transport  # type: ignore[arg-type]
    secret = Secret(settings["AZURE_CLIENT_SECRET"])
    credential = ClientSecretCredential(
        settings["AZURE_TENANT_ID"], settings["AZURE_CLIENT_ID"], secret.reveal(), **transport
    )
    return Connection(credential=credential, secrets=(secret,), **reach)
