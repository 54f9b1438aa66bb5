"""The cluster's requests to Azure: over HTTPS, through the rehearsal's proxy, like those of a node.

There is no in-process short cut: registries, Entra and vaults authorize and log these requests.
"""

from __future__ import annotations

import asyncio
import http
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.kubernetes.cloud_services import CloudServices

_SECONDS = 30.0
_RESOLVER = "168.63.129.16:53"
"""Azure's own DNS server, which error texts name."""


@dataclass(frozen=True)
class Reply:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def status_line(self) -> str:
        """Return the status in Go's format: `401 Unauthorized`."""
        return f"{self.status} {http.HTTPStatus(self.status).phrase}"


class Unreachable(Exception):
    """There was no answer; the message is that of Go's network library."""


class Outbound:
    """The way from a node of `cloud` to Azure's hosts."""

    def __init__(self, cloud: CloudServices) -> None:
        proxy = urllib.request.ProxyHandler({"https": f"http://127.0.0.1:{cloud.settings.proxy_port}"})
        context = ssl.create_default_context(cafile=str(cloud.home.proxy_ca_file(cloud.settings)))
        self._opener = urllib.request.OpenerDirector()
        for handler in (proxy, urllib.request.HTTPSHandler(context=context)):
            self._opener.add_handler(handler)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a GET. Raises Unreachable."""
        return await asyncio.to_thread(self._send, urllib.request.Request(url, headers=dict(headers or {})))  # noqa: S310 - https alone

    async def post(self, url: str, form: Mapping[str, str]) -> Reply:
        """Send a form. Raises Unreachable."""
        return await asyncio.to_thread(self._send, urllib.request.Request(url, data=urlencode(form).encode()))  # noqa: S310 - https alone

    def _send(self, request: urllib.request.Request) -> Reply:
        host = urlsplit(request.full_url).hostname
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except TimeoutError:
            raise Unreachable("context deadline exceeded") from None
        except OSError as fault:
            if "Tunnel connection failed: 502" in str(fault):  # the proxy's answer to a name without an address
                raise Unreachable(f"dial tcp: lookup {host} on {_RESOLVER}: no such host") from None
            raise Unreachable(f"dial tcp: {fault}") from None
