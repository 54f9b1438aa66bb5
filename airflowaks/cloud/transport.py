"""The HTTP connections that all SDK clients of a session share, and sessions with the same connection to Azure.

Every client would have a pool of its own, and requests parses the root certificates for each connection again: 34 ms of
CPU each, measured with 150 roots. Of a run with nothing to change that was 1.3 of 1.6 seconds of CPU.
"""

from __future__ import annotations

import os
import ssl
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from requests import Session
from requests.adapters import HTTPAdapter
from urllib3.util import Retry, create_urllib3_context

if TYPE_CHECKING:
    from requests import PreparedRequest

_HOSTS, _CONNECTIONS_TO_A_HOST = 256, 256
"""So many stay open: fifty environments that are checked side by side have a handful each."""


_MANAGED_IDENTITY = ("http://169.254.", "http://localhost:", "http://127.0.0.1:")
"""Where a managed identity is asked for a token: IMDS, Azure Arc, Cloud Shell and App Service."""
_NO_RETRIES = Retry(total=False, redirect=False, raise_on_status=False)


class _SharedRoots(HTTPAdapter):
    """Verifies servers, and proxies that are reached over TLS, with one context. The pipelines retry, not this."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(max_retries=_NO_RETRIES, pool_connections=_HOSTS, pool_maxsize=_CONNECTIONS_TO_A_HOST)

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the host, and the context instead of the files that a connection would parse."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context}

    def proxy_manager_for(self, proxy: str, **arguments: Any) -> Any:
        """Return the pools of connections through `proxy`."""
        return super().proxy_manager_for(proxy, proxy_ssl_context=self._context, **arguments)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Name no file of certificates: the context has them, and verifies."""


class _WithoutProxy(HTTPAdapter):
    """Sends to the machine itself, whatever proxy there is.

    "IMDS is not intended to be used behind a proxy and doing so is unsupported", where the proxy's answer would hold up
    or end the sign-in: https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service#proxies and
    https://github.com/Azure/azure-sdk-for-python/issues/35991.
    """

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Any:
        """Send `request` without the proxies of the session, the system and the caller."""
        return super().send(request, *arguments, **options | {"proxies": {}})


@cache
def _context(roots: str) -> ssl.SSLContext:
    """Return the context with which clients of a file or folder of root certificates verify servers."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(**{"capath" if Path(roots).is_dir() else "cafile": roots})
    return context


def http_session(ca_file: str | None, *, proxied: bool) -> Session:
    """Return a session of requests that verifies servers with the root certificates of `ca_file`.

    Without one, those of REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, else certifi's, which is what requests does. It heeds
    the system's proxies where it has some, unless it is `proxied` already: requests looks for them before each request,
    which was a seventh of its CPU time. It heeds no .netrc, which would replace the access token:
    https://requests.readthedocs.io/en/latest/user/authentication/#netrc-authentication
    """
    import certifi

    variables = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    adapter = _SharedRoots(_context(next(filter(None, (ca_file, *variables)), certifi.where())))
    session = Session()
    session.trust_env = not proxied and bool(getproxies())
    session.auth = lambda request: request
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    for place in _MANAGED_IDENTITY:
        session.mount(place, _WithoutProxy(max_retries=_NO_RETRIES))
    return session
