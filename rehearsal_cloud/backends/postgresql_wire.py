"""The front of a rehearsed flexible server: TLS, firewall and Entra tokens in PostgreSQL's protocol.

Message formats: https://www.postgresql.org/docs/18/protocol-message-formats.html
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from rehearsal_cloud.backends.postgresql_install import SUPERUSER
from rehearsal_cloud.backends.tls import Stream, TlsTerminator, close, relay

_CANCEL_REQUEST = 80877102
_SSL_REQUEST = 80877103
_GSS_REQUEST = 80877104
_TLS_HANDSHAKE = b"\x16"

_AUTHENTICATION_OK = (b"R", (0).to_bytes(4))
_CLEARTEXT_PASSWORD = b"R" + (8).to_bytes(4) + (3).to_bytes(4)

_MAX_STARTUP = 10_000  # PostgreSQL's own limit
_MAX_MESSAGE = 65_536  # a token has some 2,000 bytes
_LOGIN_SECONDS = 60.0  # PostgreSQL's authentication_timeout


class LoginRules(Protocol):
    """The login rules, evaluated for every connection."""

    async def public_address(self, client: tuple[str, int]) -> str:
        """Return the IP address under which the server sees the client of a loopback connection."""

    def allows(self, address: str) -> bool:
        """Tell whether a firewall rule covers the IP address."""

    def password_auth(self) -> bool:
        """Tell whether the server accepts passwords in addition to Entra tokens."""

    async def entra_login(self, user: str, token: str) -> str | None:
        """Return Azure's error for a token that does not authorize the role, or None for a valid one."""


class _Startup(NamedTuple):
    packet: bytes
    code: int
    user: str
    database: str


class _LoginError(ConnectionError):
    """The error that the client receives before the connection ends."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": message}
        body = b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0"
        self.packet = b"E" + (len(body) + 4).to_bytes(4) + body


def _parse(packet: bytes) -> _Startup:
    words = packet[8:].rstrip(b"\0").split(b"\0")
    parameters = dict(zip(words[::2], words[1::2], strict=False))
    user, database = (parameters.get(key, b"").decode(errors="replace") for key in (b"user", b"database"))
    return _Startup(packet, int.from_bytes(packet[4:8]), user, database or user)


def _length(prefix: bytes, least: int, most: int) -> int:
    length = int.from_bytes(prefix)
    if not least <= length <= most:
        raise ConnectionError("a message of impossible length")
    return length


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes, bytes]:
    """Return the next message's type, its body, and its raw bytes."""
    head = await reader.readexactly(5)
    body = await reader.readexactly(_length(head[1:], 4, _MAX_MESSAGE) - 4)
    return head[:1], body, head + body


async def _receive(client: socket.socket, count: int) -> bytes:
    """Read exactly this many bytes; the rest stays for the TLS handshake."""
    data = b""
    while len(data) < count:
        more = await asyncio.get_running_loop().sock_recv(client, count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


async def _first_byte(client: socket.socket) -> bytes:
    """Return the first byte without consuming it."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(client, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(client)
    return client.recv(1, socket.MSG_PEEK)


class PostgresTerminator(TlsTerminator):
    """Listens on 127.0.0.1 like a flexible server: TLS only, firewall, passwords, Entra tokens.

    The backend's pg_hba.conf decides who needs a token: the roles that it trusts. All others authenticate with
    the backend itself (SCRAM end to end). `ssl_context` is not shared: it gets PostgreSQL's ALPN name.
    """

    def __init__(self, port: int, ssl_context: ssl.SSLContext, upstream: Callable[[], Path], rules: LoginRules) -> None:
        super().__init__(port, ssl_context, upstream)
        self._rules = rules
        ssl_context.set_alpn_protocols(["postgresql"])

    async def _converse(self, client: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        address = await self._rules.public_address(client.getpeername())
        try:
            async with asyncio.timeout(_LOGIN_SECONDS):
                encrypted = await self._agree_on_tls(client, address)
        except _LoginError as error:
            await loop.sock_sendall(client, error.packet)
            return
        if encrypted is None:
            return
        try:
            await self._log_in(encrypted, address)
        except _LoginError as error:
            encrypted.writer.write(error.packet)
        finally:
            await close(encrypted)

    async def _agree_on_tls(self, client: socket.socket, address: str) -> Stream | None:
        loop = asyncio.get_running_loop()
        if await _first_byte(client) == _TLS_HANDSHAKE:  # sslnegotiation=direct, PostgreSQL 17 and later
            return await self._handshake(client)
        while True:
            prefix = await _receive(client, 4)
            start = _parse(prefix + await _receive(client, _length(prefix, 8, _MAX_STARTUP) - 4))
            if start.code == _GSS_REQUEST:
                await loop.sock_sendall(client, b"N")
            elif start.code == _SSL_REQUEST:
                await loop.sock_sendall(client, b"S")
                return await self._handshake(client)
            elif start.code == _CANCEL_REQUEST:
                await self._cancel(start.packet)
                return None
            else:
                raise self._no_entry(start, address, "no encryption")

    @staticmethod
    def _no_entry(start: _Startup, address: str, encryption: str) -> _LoginError:
        client = f'host "{address}", user "{start.user}", database "{start.database}"'
        return _LoginError("28000", f"no pg_hba.conf entry for {client}, {encryption}")

    async def _cancel(self, packet: bytes) -> None:
        backend = await self._connect()
        try:
            backend.writer.write(packet)
            await backend.reader.read()  # the server closes when it has done it
        finally:
            await close(backend)

    async def _log_in(self, client: Stream, address: str) -> None:
        async with asyncio.timeout(_LOGIN_SECONDS):
            prefix = await client.reader.readexactly(4)
            start = _parse(prefix + await client.reader.readexactly(_length(prefix, 8, _MAX_STARTUP) - 4))
            if start.code == _CANCEL_REQUEST:
                await self._cancel(start.packet)
                return
            if not self._rules.allows(address) or start.user == SUPERUSER:
                raise self._no_entry(start, address, "SSL encryption")
            try:
                backend = await self._connect()
            except OSError:
                raise _LoginError("57P03", "the database system is starting up") from None
        try:
            async with asyncio.timeout(_LOGIN_SECONDS):
                await self._authenticate(client, backend, start)
            await relay(client, backend)
        finally:
            await close(backend)

    async def _authenticate(self, client: Stream, backend: Stream, start: _Startup) -> None:
        backend.writer.write(start.packet)
        kind, body, message = await _read_message(backend.reader)
        while kind == b"v":  # NegotiateProtocolVersion comes before the question
            client.writer.write(message)
            kind, body, message = await _read_message(backend.reader)
        if (kind, body) == _AUTHENTICATION_OK:
            client.writer.write(_CLEARTEXT_PASSWORD)
            answer, token, _ = await _read_message(client.reader)
            if answer != b"p":
                raise ConnectionError("the client sent something else than a password")
            if error := await self._rules.entra_login(start.user, token.rstrip(b"\0").decode(errors="replace")):
                raise _LoginError("28P01", error)
        elif kind == b"R" and not self._rules.password_auth():
            raise _LoginError("28P01", f'password authentication failed for user "{start.user}"')
        client.writer.write(message)
