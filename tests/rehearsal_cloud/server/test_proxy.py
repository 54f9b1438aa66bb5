"""The proxy lets nobody reach real Azure, and TLS proves that it is the rehearsal which answers."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from rehearsal_cloud.certificates import serves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.rehearsal import Rehearsal


def connect(rehearsal: Rehearsal, head: str) -> bytes:
    """Sender a request's head to the proxy and return all that it answers."""
    proxy = urlsplit(rehearsal.connection["HTTPS_PROXY"])
    with socket.create_connection((str(proxy.hostname), proxy.port or 0), timeout=10) as connection:
        connection.sendall(head.encode())
        return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "example.com",
        "management.azure.com.example.com",
        "a.b.vault.azure.net",
        ".vault.azure.net",
        "vault.azure.net",
        "localhost",
        "127.0.0.1",
    ],
)
def test_any_other_host_is_refused(rehearsal: Rehearsal, host: str) -> None:
    answer = connect(rehearsal, f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert host.encode() in answer


def test_only_connect_is_served(rehearsal: Rehearsal) -> None:
    answer = connect(rehearsal, "GET http://management.azure.com/ HTTP/1.1\r\nHost: management.azure.com\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")


@pytest.mark.parametrize("host", ["kv-never-made.vault.azure.net", "KV-NEVER-MADE.vault.azure.net"])
def test_a_vault_that_is_not_there_has_no_address(rehearsal: Rehearsal, host: str) -> None:
    answer = connect(rehearsal, f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\nProxy-Status: rehearsal; error=dns_error")


@pytest.mark.parametrize("nonsense", ["\r\n\r\n", "CONNECT\r\n\r\n", "CONNECT :443 HTTP/1.1\r\n\r\n", "x" * 20_000])
def test_nonsense_ends_the_connection_and_nothing_else(rehearsal: Rehearsal, nonsense: str) -> None:
    try:
        answer = connect(rehearsal, nonsense)
    except ConnectionResetError:  # the rest of what we sent was not read
        answer = b""
    assert b"200" not in answer.split(b"\r\n", 1)[0]
    assert connect(rehearsal, "CONNECT example.com:443 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403")


@pytest.fixture
def tunnel(rehearsal: Rehearsal) -> Iterator[http.client.HTTPSConnection]:
    proxy = urlsplit(rehearsal.connection["HTTPS_PROXY"])
    context = ssl.create_default_context(cafile=rehearsal.connection["REQUESTS_CA_BUNDLE"])
    connection = http.client.HTTPSConnection(str(proxy.hostname), proxy.port, context=context, timeout=10)
    yield connection
    connection.close()


@pytest.mark.parametrize("host", ["management.azure.com", "login.microsoftonline.com", "graph.microsoft.com"])
def test_azures_hosts_are_proved_by_the_rehearsals_ca(tunnel: http.client.HTTPSConnection, host: str) -> None:
    tunnel.set_tunnel(host, 443)
    tunnel.request("GET", "/nothing")
    assert tunnel.getresponse().status in (401, 404)


def test_the_worlds_cas_do_not_vouch_for_the_rehearsal(rehearsal: Rehearsal) -> None:
    proxy = urlsplit(rehearsal.connection["HTTPS_PROXY"])
    context = ssl.create_default_context()
    connection = http.client.HTTPSConnection(str(proxy.hostname), proxy.port, context=context, timeout=10)
    connection.set_tunnel("management.azure.com", 443)
    with pytest.raises(ssl.SSLCertVerificationError):
        connection.request("GET", "/")
    connection.close()


def test_old_tls_is_refused(rehearsal: Rehearsal) -> None:
    proxy = urlsplit(rehearsal.connection["HTTPS_PROXY"])
    context = ssl.create_default_context(cafile=rehearsal.connection["REQUESTS_CA_BUNDLE"])
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    connection = http.client.HTTPSConnection(str(proxy.hostname), proxy.port, context=context, timeout=10)
    connection.set_tunnel("management.azure.com", 443)
    with pytest.raises(ssl.SSLError):
        connection.request("GET", "/")
    connection.close()


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("management.azure.com", True),
        ("Graph.Microsoft.com", True),
        ("one.azurecr.io", True),
        ("one.two.azurecr.io", False),
        ("azurecr.io", False),
        ("", False),
    ],
)
def test_a_wildcard_covers_one_label(host: str, *, served: bool) -> None:
    assert serves(host) is served
