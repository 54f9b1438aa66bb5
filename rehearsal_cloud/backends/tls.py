"""TLS termination in front of PostgreSQL and Valkey, whose wheels are built without it."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_CHUNK = 65536
_HANDSHAKE_SECONDS = 10.0
_CLOSE_SECONDS = 2.0


class Stream(NamedTuple):
    """Both directions of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def close(stream: Stream) -> None:
    """Send the remaining data and close; a stalled peer is disconnected after 2 seconds."""
    stream.writer.close()
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await stream.writer.wait_closed()
    except OSError:
        stream.writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:  # one of the two has gone: the other learns it by the end of its input
        pass
    finally:
        if writer.can_write_eof() and not writer.is_closing():
            with contextlib.suppress(OSError):
                writer.write_eof()


async def relay(client: Stream, server: Stream) -> None:
    """Relay bytes in both directions, with back-pressure, until the server closes."""
    forth = asyncio.create_task(_copy(client.reader, server.writer))
    try:
        await _copy(server.reader, client.writer)
    finally:
        forth.cancel()
        await asyncio.wait([forth])


def _reset_on_close(client: socket.socket, *, enabled: bool) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", enabled, 0))


class TlsTerminator:
    """Listens on 127.0.0.1 with TLS and forwards connections to a Unix socket.

    A client without TLS is reset, as Azure Managed Redis does. Port 0 chooses a free port. `upstream` is
    called for every connection, so the server may stop and start.
    """

    def __init__(self, port: int, ssl_context: ssl.SSLContext, upstream: Callable[[], Path]) -> None:
        self.port = port
        self._ssl_context = ssl_context
        self._upstream = upstream
        self._listener: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start listening. Raises OSError when the port is taken."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        listener.setblocking(False)  # noqa: FBT003 -- the socket module's own signature
        self.port = listener.getsockname()[1]
        self._listener = asyncio.create_task(self._accept(listener))

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        tasks = [*self._connections, *([self._listener] if self._listener else [])]
        self._listener = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    client, (address, _) = await loop.sock_accept(listener)
                except OSError:
                    await asyncio.sleep(_CLOSE_SECONDS)  # out of file descriptors: until others have closed theirs
                    continue
                task = asyncio.create_task(self._serve(client, address))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)

    async def _serve(self, client: socket.socket, address: str) -> None:
        # An error of a connection ends only that connection.
        with client, contextlib.suppress(OSError, EOFError):
            await self._converse(client, address)

    async def _converse(self, client: socket.socket, address: str) -> None:  # noqa: ARG002 -- for subclasses
        stream = await self._handshake(client)
        try:
            await self._pass_on(stream)
        finally:
            await close(stream)

    async def _handshake(self, client: socket.socket) -> Stream:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        _reset_on_close(client, enabled=True)
        # asyncio does this only for sockets with proto TCP; an accepted socket has proto 0.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, client, ssl=self._ssl_context, ssl_handshake_timeout=_HANDSHAKE_SECONDS
        )
        _reset_on_close(client, enabled=False)
        return Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def _connect(self) -> Stream:
        return Stream(*await asyncio.open_unix_connection(self._upstream()))

    async def _pass_on(self, client: Stream) -> None:
        server = await self._connect()
        try:
            await relay(client, server)
        finally:
            await close(server)
