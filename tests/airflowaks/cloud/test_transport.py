"""The connections that the clients of a session share, on a rehearsal cloud."""

from __future__ import annotations

import time
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import psutil
import pytest
from azure.core import PipelineClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.policies import ProxyPolicy
from azure.core.rest import HttpRequest
from requests import Request

from airflowaks.cloud.connection import OneAtATime
from airflowaks.cloud.redaction import Redactor
from airflowaks.cloud.transport import http_session
from airflowaks.session import Session, open_session

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.rehearsal import Rehearsal


def _local_ports(proxy: str) -> set[int]:
    """Return the local ports of this process's connections to the proxy."""
    connections = psutil.Process().net_connections("tcp")
    return {each.laddr.port for each in connections if each.raddr and each.raddr.port == urlsplit(proxy).port}


def test_clients_share_a_connection_to_a_host_and_so_do_sessions(rehearsal: Rehearsal) -> None:
    before = _local_ports(rehearsal.connection["HTTPS_PROXY"])
    first = open_session("local", "plan")
    opened = []
    for session in (first, Session(first.environment, "check", first.connection)):
        list(session.resources.resource_groups.list())
        list(session.identities.user_assigned_identities.list_by_subscription())
        list(session.registries.registries.list())
        opened.append(_local_ports(rehearsal.connection["HTTPS_PROXY"]) - before)
    assert len(opened[0]) == len(("login.microsoftonline.com", "management.azure.com"))
    assert opened[1] == opened[0]


@pytest.mark.parametrize(
    ("variables", "proxied", "heeded"),
    [({}, False, False), ({"HTTPS_PROXY": "http://p:1"}, False, True), ({"HTTPS_PROXY": "http://p:1"}, True, False)],
    ids=["no proxy", "the system's proxy", "a proxy of the environment's"],
)
def test_the_system_s_proxy_is_looked_for_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, proxied: bool, heeded: bool
) -> None:
    for name in getproxies():
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert http_session(None, proxied=proxied).trust_env is heeded


def test_a_netrc_does_not_replace_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    session, request = (
        http_session(None, proxied=False),
        Request("GET", "https://a.example", {"Authorization": "Bearer t"}),
    )
    assert session.trust_env
    assert session.prepare_request(request).headers["Authorization"] == "Bearer t"


def test_a_credential_is_asked_once_for_a_token_until_that_is_about_to_end() -> None:
    asked: list[tuple[str, ...]] = []

    class Credential:
        def get_token(self, *scopes: str, **arguments: Any) -> AccessToken:
            asked.append(scopes)
            return AccessToken(
                f"token {len(asked)} {arguments}", int(time.time()) + (3600 if scopes == ("long",) else 60)
            )

    credential = OneAtATime(Credential(), Redactor())
    assert len({credential.get_token("long").token for _ in range(3)}) == 1
    assert len({credential.get_token("short").token for _ in range(3)}) == 3
    revoked = credential.get_token("long").token
    credential.get_token("long", claims="{}")
    assert credential.get_token("long").token != revoked
    assert asked == [("long",), *([("short",)] * 3), ("long",), ("long",)]


@pytest.mark.usefixtures("rehearsal")
def test_a_server_is_verified_by_the_roots_of_the_connection() -> None:
    url = "https://management.azure.com/metadata/endpoints?api-version=2022-09-01"
    trusting = open_session("local", "plan").connection
    for connection in (trusting, replace(trusting, ca_bundle=None)):
        client = PipelineClient(url, policies=[ProxyPolicy(**connection.transport)], **connection.transport)
        if connection is trusting:
            assert client.send_request(HttpRequest("GET", url)).status_code == HTTPStatus.UNAUTHORIZED  # no token
        else:
            with pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"):
                client.send_request(HttpRequest("GET", url))
