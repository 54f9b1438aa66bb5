"""HTTP requests that the API proxies to pods and services."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ssl
from typing import TYPE_CHECKING

from starlette.responses import Response

from rehearsal_cloud.kubernetes.failures import Failure

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.network import Network

_SECONDS = 60.0
_OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "content-length", "authorization"}


async def answer(request: Request, network: Network, target: Document, port: str, path: str, scheme: str) -> Response:
    """Forward the request and return its answer. Raises Failure (503) where the target does not answer."""
    host, number = _address(target, port)
    try:
        address = network.destination(host, number)
    except OSError:
        raise _refused(target, host, number) from None
    query = f"?{request.url.query}" if request.url.query else ""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_HOP}
    headers["Host"] = f"{host}:{number}"
    body = await request.body()
    try:
        return await asyncio.to_thread(
            _passed_on, scheme, address, request.method, f"/{path.lstrip('/')}{query}", headers, body
        )
    except (OSError, http.client.HTTPException):
        raise _refused(target, host, number) from None


def _address(target: Document, port: str) -> tuple[str, int]:
    name = target["metadata"]["name"]
    if target["kind"] == "Service":
        ports = target["spec"].get("ports") or []
        matching = (
            [service_port for service_port in ports if port in (str(service_port["port"]), service_port.get("name"))]
            if port
            else ports
        )
        if len(matching) != 1:
            raise Failure(503, "ServiceUnavailable", f'no service port "{port}" found for service "{name}"')
        return target["spec"]["clusterIP"], int(matching[0]["port"])
    containers = [port_spec for container in target["spec"]["containers"] for port_spec in container.get("ports") or []]
    named = next(
        (port_spec["containerPort"] for port_spec in containers if port and port_spec.get("name") == port), None
    )
    first = containers[0]["containerPort"] if containers else 80
    return target.get("status", {}).get("podIP", ""), int(named or port or first)


def _refused(target: Document, host: str, port: int) -> Failure:
    if target["kind"] == "Service":
        name = target["metadata"]["name"]
        return Failure(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')
    text = f"error trying to reach service: dial tcp {host}:{port}: connect: connection refused"
    return Failure(503, "ServiceUnavailable", text)


def _passed_on(
    scheme: str, address: tuple[str, int], method: str, path: str, headers: dict[str, str], body: bytes
) -> Response:
    if scheme == "https":
        context = ssl._create_unverified_context()  # noqa: S323, SLF001 - as the API server, which has no name to verify
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            *address, timeout=_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(*address, timeout=_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, body=body or None, headers=headers)
        got = connection.getresponse()
        kept = {name: value for name, value in got.getheaders() if name.lower() not in _OF_ONE_HOP}
        return Response(got.read(), got.status, kept)
