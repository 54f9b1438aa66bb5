"""The sign-in to Azure with `az`, and with a managed identity behind a company proxy."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from requests import RequestException

from airflowaks.cloud import connection as sign_in
from airflowaks.cloud.connection import azure_connection
from airflowaks.config.environment import load_environment
from airflowaks.errors import SignInFailed
from airflowaks.session import Session
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflowaks.config.environment import Environment

SCOPE = "https://management.azure.com/.default"
IDENTITY = {"access_token": "of the identity", "expires_in": "3600", "resource": "r", "token_type": "Bearer"}


@pytest.fixture
def serve() -> Iterator[Callable[[int, str], tuple[str, list[str]]]]:
    """Start servers that give one answer to all, and return their URL and what they were asked."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, text: str) -> tuple[str, list[str]]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment on a machine that has no credential but `az`."""
    for name in ("CLIENT_ID", "TENANT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE", "TOKEN_CREDENTIALS"):
        monkeypatch.delenv(f"AZURE_{name}", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return load_environment("local", REPOSITORY / "manifests" / "environments")


def test_az_has_more_than_the_seconds_it_takes_where_several_run() -> None:
    """13 s for one call, and 60 s are too few at times: https://github.com/Azure/azure-sdk-for-python/issues/37167."""
    assert sign_in.AZ_SECONDS > 60


def test_an_az_that_is_too_slow_is_not_one_that_is_signed_out(
    environment: Environment, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    az = tmp_path / "az"
    az.write_text("#!/bin/sh\nexec /bin/sleep 90\n")
    az.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sign_in, "AZ_SECONDS", 1)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", serve(400, "{}")[0])
    begun = time.monotonic()
    with pytest.raises(SignInFailed) as caught:
        Session(environment, "plan", azure_connection(environment)).token(SCOPE)
    assert time.monotonic() - begun < 60
    assert "`az` was too slow" in caught.value.action


@pytest.mark.parametrize("through", ["the environment file", "HTTP_PROXY"])
def test_a_managed_identity_is_asked_without_the_proxy(
    environment: Environment, serve: Any, monkeypatch: pytest.MonkeyPatch, through: str
) -> None:
    """The metadata service of a machine in Azure is not reached by a proxy, which may answer anything."""
    identity, asked = serve(200, json.dumps(IDENTITY))
    proxy, asked_of_proxy = serve(200, json.dumps(IDENTITY | {"access_token": "of the proxy"}))
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", identity)
    if through == "HTTP_PROXY":
        monkeypatch.setenv("HTTP_PROXY", proxy)
    else:
        environment = environment.model_copy(update={"proxy": proxy})
    assert azure_connection(environment).credential.get_token(SCOPE).token == "of the identity"
    assert (len(asked), asked_of_proxy) == (1, [])


def test_a_proxy_is_not_asked_for_the_metadata_service(environment: Environment, serve: Any) -> None:
    proxy, asked = serve(502, "{}")
    connection = azure_connection(environment.model_copy(update={"proxy": proxy}))
    session, arguments = connection.transport["transport"].session, {"proxies": connection.transport["proxies"]}
    assert session.get("http://somewhere.example/", **arguments).status_code == HTTPStatus.BAD_GATEWAY
    with suppress(RequestException):  # what answers depends on the machine that runs this
        session.get("http://169.254.169.254/metadata/identity/oauth2/token", timeout=1, **arguments)
    assert asked == ["http://somewhere.example/"]
