"""An HTTP CONNECT proxy whose only destination is the rehearsal's TLS endpoint.

Clients keep Azure's real host names. The proxy refuses all other hosts, so no request through it
can reach real Azure by accident. A browser that opens the proxy's own address gets the sign-in pages: it uses no proxy.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from rehearsal_cloud.certificates import serves

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

_HEAD_LIMIT = 16 * 1024


class Proxy:
    """Accepts on `listener` and pipes the hosts of the rehearsal to `https_port` on loopback.

    `resolves` replaces DNS: a missing vault or registry has no address. `own_ca` trusts the TLS endpoint.
    """

    def __init__(
        self, listener: socket.socket, https_port: int, resolves: Callable[[str], bool], own_ca: ssl.SSLContext
    ) -> None:
        self._listener = listener
        self._https_port = https_port
        self._resolves = resolves
        self._own_ca = own_ca
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start accepting connections."""
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=_HEAD_LIMIT)

    async def stop(self) -> None:
        """Stop listening and close the tunnels."""
        if self._server is not None:
            self._server.close()
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio.start_server runs this in a task
        self._pipes.add(task)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away or sent no HTTP: nobody is left to be told
        except asyncio.CancelledError:
            pass  # by stop(), which waits for this task; before Python 3.12 asyncio would log it as a fault
        finally:
            self._pipes.discard(task)
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, *_ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), ""]
        if target.startswith("/"):
            await self._serve(head, reader, writer)
            return
        host = target.rpartition(":")[0]
        if method != "CONNECT" or not serves(host):
            await _refuse(writer, "403 Forbidden", f"The rehearsal cloud does not stand in for {target}.")
            return
        if not self._resolves(host):
            # RFC 9209 (2.3.2) for a failed DNS look-up; clients see no connection, as for NXDOMAIN.
            status = "502 Bad Gateway\r\nProxy-Status: rehearsal; error=dns_error; rcode=NXDOMAIN"
            await _refuse(writer, status, f"{host} has no address: nothing of that name exists.")
            return
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._https_port)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            client: socket.socket = writer.get_extra_info("socket")
            await _either(_pipe(reader, upstream_writer, client), _pipe(upstream_reader, writer))
        finally:
            upstream_writer.close()

    async def _serve(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass requests for this address itself on to the TLS endpoint."""
        upstream_reader, upstream_writer = await asyncio.open_connection(
            "127.0.0.1", self._https_port, ssl=self._own_ca, server_hostname="localhost"
        )
        try:
            upstream_writer.write(head)
            await _either(_pipe(reader, upstream_writer), _pipe(upstream_reader, writer))
        finally:
            upstream_writer.close()


async def _either(*pipes: Coroutine[None, None, None]) -> None:
    """Wait until a direction ends: TLS has no half-closed connections, so both have ended."""
    tasks = [asyncio.ensure_future(pipe) for pipe in pipes]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _refuse(writer: asyncio.StreamWriter, status: str, reason: str) -> None:
    body = f"{reason}\n"
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n"
    writer.write((head + body).encode())
    await writer.drain()


async def _pipe(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: socket.socket | None = None
) -> None:
    with suppress(OSError):
        while data := await reader.read(64 * 1024):
            if source is not None and sys.platform == "linux":
                # urllib3 keeps Nagle's algorithm on towards a proxy: a request's body would wait 40 ms for the
                # acknowledgement of its head, which Linux delays unless this is set each time.
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            writer.write(data)
            await writer.drain()
