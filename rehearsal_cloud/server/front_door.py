"""The daemon: a process that serves all of Azure's hosts on loopback and keeps their backends running."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import signal
import socket
import ssl
import time
import uuid
from email.utils import formatdate
from typing import TYPE_CHECKING

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.graph import Graph
from rehearsal_cloud.entra.login import Login
from rehearsal_cloud.errors import not_found
from rehearsal_cloud.key_vault.api import Vault
from rehearsal_cloud.registry.api import Registry
from rehearsal_cloud.registry.docker_hub import HOST, TOKEN_HOST, DockerHub
from rehearsal_cloud.resource_manager.api import ResourceManager
from rehearsal_cloud.resource_manager.cloud import Cloud
from rehearsal_cloud.resource_manager.cluster_issuers import Oidc
from rehearsal_cloud.resource_manager.providers import providers
from rehearsal_cloud.resource_manager.resources import Resources
from rehearsal_cloud.routing import routed
from rehearsal_cloud.server.proxy import Proxy

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from rehearsal_cloud.home import Home, Settings
    from rehearsal_cloud.routing import Handler

_LOG = logging.getLogger(__name__)
_SIGNATURE = re.compile(r"\bsig=[^&]*")
_RESOURCE_MANAGER = "management.azure.com"


class FrontDoor:
    """The ASGI application: dispatches by host name, applies faults, logs requests without secrets."""

    def __init__(self, cloud: Cloud, resources: Resources) -> None:
        self._cloud = cloud
        self._faults = cloud.faults
        self._log = cloud.home.request_log.open("a", buffering=1)
        oidc = Oidc(cloud)
        pages = f"http://localhost:{cloud.settings.proxy_port}"
        login = Login(cloud.entra, cloud.store, oidc.fetched, pages)
        self._sign_in_pages = routed(login.page_routes())
        self._hosts: dict[str, Handler] = {
            _RESOURCE_MANAGER: ResourceManager(cloud, resources).answer,
            "login.microsoftonline.com": routed(login.routes()),
            **dict.fromkeys((HOST, TOKEN_HOST), routed(DockerHub(cloud).routes())),
            "graph.microsoft.com": routed(Graph(cloud.entra).routes()),
        }
        self._suffixes: dict[str, Handler] = {
            ".oic.prod-aks.azure.com": oidc.answer,
            ".azurecr.io": Registry(cloud).answer,
            ".blob.core.windows.net": cloud.blobs.answer,
            ".vault.azure.net": routed(Vault(cloud).routes()),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        request = Request(scope, receive)
        started = time.time()
        host = request.headers.get("host", "").partition(":")[0].lower()
        if host in ("localhost", "127.0.0.1"):
            response = await self._control(request)
        else:
            response = await self._faults.serve(request, lambda inner: self._serve(host, inner))
        if host == _RESOURCE_MANAGER:
            self._cloud.activity_log.answered(request, response)
        correlation = request.headers.get("x-ms-correlation-request-id") or str(uuid.uuid4())
        response.headers.setdefault("x-ms-request-id", str(uuid.uuid4()))
        response.headers.setdefault("x-ms-correlation-request-id", correlation)
        client_id = request.headers.get("x-ms-client-request-id")
        if client_id:
            response.headers.setdefault("x-ms-client-request-id", client_id)
        clock = self._faults.restriction("clock")
        response.headers["Date"] = formatdate(time.time() + (clock.limit if clock else 0), usegmt=True)
        self._record(request, host, response, started)
        await response(scope, receive, send)

    async def _serve(self, host: str, request: Request) -> Response:
        handler = self._hosts.get(host) or self._suffixes.get(host[host.find(".") :])
        if handler is None:
            return not_found(host).response()
        try:
            return await handler(request)
        except Exception:  # noqa: BLE001 - a fault of ours is answered as a service answers its own
            _LOG.exception("%s %s failed", request.method, request.url.path)
            text = "An unexpected error occurred in the rehearsal cloud; its log tells more."
            return JSONResponse({"error": {"code": "InternalServerError", "message": text}}, 500)

    async def _control(self, request: Request) -> Response:
        if request.url.path == "/rehearsal/health":
            return JSONResponse({"status": "ready", "pid": os.getpid()})
        if not request.url.path.startswith("/rehearsal/"):
            return await self._sign_in_pages(request)
        if request.headers.get("authorization") != f"Bearer {self._cloud.settings.control_token}":
            return Response(None, 401)
        if request.url.path == "/rehearsal/faults":
            return await self._faults.control(request)
        return not_found(request.url.path).response()

    def _record(self, request: Request, host: str, response: Response, started: float) -> None:
        """Log the request and its answer: without bodies, tokens and signatures of blob URLs."""
        entry = {
            "time": round(started, 3),
            "ms": round((time.time() - started) * 1000, 1),
            "method": request.method,
            "host": host,
            "path": request.url.path,
            "query": _SIGNATURE.sub("sig=…", request.url.query),
            "status": response.status_code,
            "principal": getattr(request.state, "principal", None),
            "correlation": response.headers["x-ms-correlation-request-id"],
        }
        self._log.write(json.dumps(entry) + "\n")


class _Endpoint(uvicorn.Server):
    """The TLS endpoint; it closes the proxy's tunnels first, which idle clients would keep open."""

    def __init__(self, config: uvicorn.Config, proxy: Proxy) -> None:
        super().__init__(config)
        self._proxy = proxy

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        await self._proxy.stop()
        await super().shutdown(sockets)


class PortTaken(Exception):
    """Another program uses a stored port of the home."""


async def serve(home: Home, settings: Settings) -> None:
    """Serve a home until SIGTERM or SIGINT. Raises PortTaken, or BlockingIOError where it is served already."""
    # uvicorn raises the signal again after its shutdown: ignore it, because the backends are stopped below.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with home.pid_file.open("a+") as pid_file:
        fcntl.flock(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        listener, proxy_listener = _listen(settings.https_port), _listen(settings.proxy_port)
        pid_file.truncate(0)
        pid_file.write(str(os.getpid()))
        pid_file.flush()
        cloud = Cloud(home, settings)
        resources = Resources(cloud, providers())
        own_ca = ssl.create_default_context(cafile=str(home.ca_file))
        proxy = Proxy(proxy_listener, settings.https_port, resources.resolves, own_ca)
        config = uvicorn.Config(
            FrontDoor(cloud, resources),
            ssl_context_factory=lambda *_: cloud.tls,
            log_config=None,
            access_log=False,
            date_header=False,  # the front door sets it
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
        try:
            await resources.start()
            await proxy.start()
            await _Endpoint(config, proxy).serve([listener])
        finally:
            await proxy.stop()
            await resources.stop()
            pid_file.truncate(0)


def _listen(port: int) -> socket.socket:
    # asyncio disables Nagle's algorithm only for sockets with proto TCP; socket.create_server's have proto 0: each
    # answer would wait 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError as fault:
        listener.close()
        text = f"port {port}, which this home remembers, is in use by another program"
        raise PortTaken(text) from fault
    return listener
