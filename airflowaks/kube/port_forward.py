"""Forwards a local port to a pod, as `kubectl port-forward` does: the way to services inside the cluster."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from airflowaks.cloud.connection import AFTER_JOINING
from airflowaks.errors import Forbidden, KubernetesError, PortInUse
from airflowaks.kube.streams import open_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from websockets.asyncio.client import ClientConnection

    from airflowaks.kube.client import Kube, Reference

# A stream carries one connection to one port: a data and an error channel, each beginning with the port number.
_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_CHUNK = 64 * 1024
_ANSWER_SECONDS = 30
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@contextmanager
def forward(kube: Kube, pod: Reference, port: int, *, local_port: int = 0) -> Iterator[int]:
    """Yield a local port (0: any free one) that forwards connections to `port` of a pod until the block ends.

    Raises Forbidden if the API refuses the stream, and PortInUse if the local port is in use.
    """
    from anyio.from_thread import start_blocking_portal

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_listening(kube, pod, port, local_port)) as listening,
    ):
        yield listening


@asynccontextmanager
async def _listening(kube: Kube, pod: Reference, port: int, local_port: int) -> AsyncIterator[int]:
    await _require(kube, pod, port)
    served: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve(kube, pod, port, reader, writer))
        served.add(task)
        task.add_done_callback(served.discard)

    sockets = _local_sockets(local_port)
    servers = [await asyncio.start_server(begin, sock=opened) for opened in sockets]
    try:
        yield sockets[0].getsockname()[1]
    finally:
        for server in servers:
            server.close()
        # Clients may keep idle connections open.
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)


def _local_sockets(port: int) -> list[socket.socket]:
    """Listen at both addresses of `localhost`: browsers try ::1 first, and would show what else listens there.

    kubectl listens at both too, but takes one alone where the other is in use:
    https://kubernetes.io/docs/reference/kubectl/generated/kubectl_port-forward/
    """
    while True:
        try:
            first = socket.create_server(("127.0.0.1", port))
            try:
                return [first, socket.create_server(("::1", first.getsockname()[1]), family=socket.AF_INET6)]
            except OSError as fault:
                if fault.errno in _NO_IPV6:
                    return [first]
                first.close()
                if port == 0 and fault.errno == errno.EADDRINUSE:
                    continue  # free at 127.0.0.1 alone
                raise
        except OSError as fault:
            message = f"Port {port} of this machine cannot be forwarded: {fault.strerror}."
            action = "Stop the program that listens there, or choose another port; 0 takes a free one."
            raise PortInUse(message, action) from fault


async def _require(kube: Kube, pod: Reference, port: int) -> None:
    """Raise Forbidden now: later refusals only close the client's connection."""
    try:
        stream = await _open(kube, pod, port)
    except Forbidden as refused:
        group = kube.session.environment.entra.developer_group
        if refused.status == HTTPStatus.FORBIDDEN:
            refused.action = (
                f"If you are in the Entra group {group}, have an administrator run step 1 again: port-forwards need the"
                f" verbs get and create on pods/portforward. If not, join it, {AFTER_JOINING}"
            )
        refused.message = f"Port-forward to pod {pod.name}: {refused.message}"
        raise
    except KubernetesError:
        return  # the pod may be back when a client connects
    await stream.close()


async def _open(kube: Kube, pod: Reference, port: int) -> ClientConnection:
    return await open_stream(kube, pod, "portforward", [("ports", str(port))], _PROTOCOL)


async def _serve(
    kube: Kube, pod: Reference, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with closing(writer):
        try:
            stream = await _open(kube, pod, port)
        except KubernetesError:
            # The client sees a closed connection, as with a server that is down.
            return
        async with stream:
            sending, receiving = (
                asyncio.create_task(_send(stream, reader)),
                asyncio.create_task(_receive(stream, writer)),
            )
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
            # The stream cannot pass on that a client has sent all; its answer may be on the way.
            await asyncio.wait((receiving,), timeout=_ANSWER_SECONDS)
            sending.cancel()
            receiving.cancel()


async def _send(stream: ClientConnection, reader: asyncio.StreamReader) -> None:
    from websockets.exceptions import ConnectionClosed

    with suppress(OSError, ConnectionClosed):
        while data := await reader.read(_CHUNK):
            await stream.send(bytes((_DATA,)) + data)


async def _receive(stream: ClientConnection, writer: asyncio.StreamWriter) -> None:
    from websockets.exceptions import ConnectionClosed

    begun: set[int] = set()
    with suppress(OSError, ConnectionClosed):
        async for message in stream:
            if not isinstance(message, bytes) or not message:
                continue
            channel = message[0]
            if channel not in begun:
                begun.add(channel)
            elif channel == _ERROR:
                return
            else:
                writer.write(message[1:])
                await writer.drain()
