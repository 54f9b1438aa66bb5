"""A man in the middle: a proxy between the library and a rehearsal that reads every request and can disturb one.

mitmproxy 11, the last for Python 3.11, wants cryptography below 44.1, the library 45 or newer; proxy.py cannot end a
connection in the middle of an answer. So this is h11 between two TLS connections.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
import struct
import threading
from base64 import b64decode, b64encode
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import h11
import trustme
import yaml

from rehearsal_cloud.certificates import HOSTS
from tests.support.torture.faults import AFTER, PAGES, Answer, refusal
from tests.support.torture.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflowaks.cloud.cluster import Address

UNCLOSED = "ignore:unclosed:ResourceWarning"
"""The filter for tests with a man in the middle: asyncio loses sockets that are reset while they change to TLS."""
_SLOW_SECONDS = 4
_ENDING_SECONDS = 10  # of the connections of a run; on a busy machine seconds
_CHUNK = 64 * 1024
_LIMIT = 64 * 1024 * 1024  # after start_tls a full StreamReader would pause the transport from before (Python 3.11)
_CONNECTED = b"HTTP/1.1 200"
_KUBERNETES = "kubernetes"


class _Over(Exception):
    """The connection has to end here."""


@dataclass(frozen=True)
class Disturbance:
    """What happens to the first request of a kind."""

    request: Kind
    kind: str


class _Peer:
    """One side of an exchange: an HTTP/1.1 connection over asyncio's streams."""

    def __init__(self, role: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.http, self.reader, self.writer = h11.Connection(role), reader, writer

    async def event(self) -> Any:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(_CHUNK))
        return event

    async def body(self) -> bytes:
        parts = []
        while isinstance(event := await self.event(), h11.Data):
            parts.append(bytes(event.data))
        if not isinstance(event, h11.EndOfMessage):
            raise ConnectionResetError
        return b"".join(parts)

    async def send(self, *events: Any) -> None:
        self.writer.write(b"".join(self.http.send(event) or b"" for event in events))
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection as a machine that lost it does: RST, whatever was to be sent."""
        if connection := self.writer.get_extra_info("socket"):  # else the peer did so before
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()


class Middle:
    """The proxy in front of a rehearsal, which runs in a thread, and in front of the APIs of its clusters."""

    def __init__(self, home: Path, proxy: str) -> None:
        authority = trustme.CA()
        self.ca_file = home / "middle.pem"
        self.ca_file.write_bytes(authority.cert_pem.bytes() + (home / "ca.pem").read_bytes())
        self._certificate = authority.cert_pem.bytes()
        self._shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS, "localhost").configure_cert(self._shown)
        self._verified = ssl.create_default_context(cafile=str(home / "ca.pem"))
        self._rehearsal = urlsplit(proxy)
        self._cluster: Any = None
        self.proxy = ""
        self._front: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._plain: set[asyncio.WriteTransport] = set()
        """The transports below TLS: `start_tls` forgets the one of a connection that is reset meanwhile."""
        self._cluster_port = 0
        self.seen: list[Kind] = []
        """The requests since the last `watch`, in their order."""
        self.struck = False
        """Whether the disturbance has happened."""
        self._disturbance: Disturbance | None = None
        self._kill: Callable[[], None] = lambda: None

    def before(self, address: Address) -> Address:
        """Return the address at which this proxy stands before a cluster's API."""
        self._cluster = urlsplit(address.server)
        server = f"https://localhost:{self._cluster_port}"
        return address._replace(server=server, certificates=self._certificate.decode())

    def watch(self, disturbance: Disturbance | None = None, kill: Callable[[], None] = lambda: None) -> None:
        """Begin to note requests, and disturb the first of a kind; `kill` kills the client or the server."""
        self.seen, self.struck, self._disturbance, self._kill = [], False, disturbance, kill
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(2 * _ENDING_SECONDS)

    def __enter__(self) -> Self:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()

        async def serve() -> None:
            await self._listen()
            cluster = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._shown, limit=_LIMIT)
            self._cluster_port = cluster.sockets[0].getsockname()[1]
            self._ended = asyncio.Event()
            started.set()
            await self._ended.wait()
            self._stop_listening()
            cluster.close()
            await asyncio.sleep(0.05)  # in which what was accepted just now becomes a task that can be cancelled
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._drop()

        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(serve(),), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        self._loop.close()
        gc.collect()  # under the filter

    # Connections

    async def _begin(self) -> None:
        """End the connections of the run before, and listen again where the rehearsal was killed."""
        await self._drop()
        await self._listen()

    async def _drop(self) -> None:
        for transport in (*self._plain, *(writer.transport for writer in self._writers)):
            transport.abort()
        ended = asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
        with suppress(TimeoutError):  # a connection that is reset while it changes to TLS never tells its end
            await asyncio.wait_for(ended, _ENDING_SECONDS)
        self._writers.clear()
        self._plain.clear()

    async def _listen(self) -> None:
        if self._front is None:
            port = urlsplit(self.proxy).port or 0
            self._front = await asyncio.start_server(self._connect, "127.0.0.1", port, limit=_LIMIT)
            self.proxy = f"http://127.0.0.1:{self._front.sockets[0].getsockname()[1]}"

    def _stop_listening(self) -> None:
        if self._front is not None:
            self._front.close()
            self._front = None

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve CONNECT: ask the rehearsal's proxy for the host, then stand between the two."""
        self._writers.add(writer)
        self._plain.add(writer.transport)
        with suppress(OSError, EOFError), closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ")[1].decode()
            answer, _, upstream = await self._tunnel(target)
            upstream.transport.abort()
            writer.write(answer)
            await writer.drain()
            if answer.startswith(_CONNECTED):
                await writer.start_tls(self._shown)
                await self._serve(_Peer(h11.SERVER, reader, writer), target)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with closing(writer):
            await self._serve(_Peer(h11.SERVER, reader, writer), "")

    async def _tunnel(self, target: str) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
        address = self._rehearsal.hostname, self._rehearsal.port
        reader, writer = await asyncio.open_connection(*address, limit=_LIMIT)
        self._writers.add(writer)
        self._plain.add(writer.transport)
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        return answer if answer.startswith(_CONNECTED) else answer + await reader.read(), reader, writer

    async def _upstream(self, target: str) -> _Peer:
        if not target:
            address = self._cluster.hostname, self._cluster.port
            reader, writer = await asyncio.open_connection(*address, ssl=self._verified, limit=_LIMIT)
            self._writers.add(writer)
            return _Peer(h11.CLIENT, reader, writer)
        answer, reader, writer = await self._tunnel(target)
        if not answer.startswith(_CONNECTED):
            raise ConnectionRefusedError(answer)
        await writer.start_tls(self._verified, server_hostname=target.partition(":")[0])
        return _Peer(h11.CLIENT, reader, writer)

    # Exchanges

    async def _serve(self, client: _Peer, target: str) -> None:
        upstream: _Peer | None = None
        try:
            while True:
                request = await client.event()
                if not isinstance(request, h11.Request):
                    return
                upstream = await self._exchange(client, upstream, target, request)
                if client.http.our_state is not h11.DONE or client.http.their_state is not h11.DONE:
                    return
                client.http.start_next_cycle()
        except _Over:
            pass
        except (OSError, EOFError, h11.ProtocolError):
            client.reset()
        finally:
            if upstream:
                upstream.writer.transport.abort()

    async def _exchange(  # noqa: C901 - the faults, in the order of an exchange
        self, client: _Peer, upstream: _Peer | None, target: str, request: h11.Request
    ) -> _Peer | None:
        """Pass on a request and its answer, with the fault of this kind; return the connection to the rehearsal."""
        url = urlsplit(request.target.decode())
        kind = Kind.of(request.method.decode(), target.partition(":")[0] or _KUBERNETES, url.path)
        fault = self._fault(kind)
        body = await client.body()
        if fault == "reset before":
            raise ConnectionResetError
        if fault.endswith("killed before"):
            await self._killed(fault)
        if fault and fault not in AFTER:
            await client.send(*_events(PAGES[fault] if fault in PAGES else refusal(fault, kind.host)))
            return upstream
        if upstream is None or upstream.http.our_state is not h11.DONE or upstream.reader.at_eof():
            upstream = await self._upstream(target)
        else:
            upstream.http.start_next_cycle()
        await upstream.send(request, *([h11.Data(data=body)] if body else []), h11.EndOfMessage())
        head = await upstream.event()
        if fault == "slow":
            await asyncio.sleep(_SLOW_SECONDS)
        if fault == "reset after":
            raise ConnectionResetError
        if fault.endswith("killed after"):
            await self._killed(fault)
        if isinstance(head, h11.InformationalResponse):
            await self._switch(client, upstream, head, cut=fault == "cut")
        elif "watch=" in url.query or "follow=" in url.query:
            await self._stream(client, upstream, head, cut=fault == "cut")
        else:
            answer = await self._whole(upstream, head, url.path)
            sent = _events(answer)
            if fault == "cut":
                whole = b"".join(client.http.send(event) or b"" for event in sent)
                lost = (len(answer.body) + 1) // 2 or len(whole) // 2
                client.writer.write(whole[:-lost])
                await client.writer.drain()
                raise _Over
            await client.send(*sent)
        return upstream

    def _fault(self, kind: Kind) -> str:
        self.seen.append(kind)
        if self.struck or self._disturbance is None or self._disturbance.request != kind:
            return ""
        self.struck = True
        return self._disturbance.kind

    async def _killed(self, fault: str) -> None:
        if fault.startswith("daemon"):
            self._stop_listening()  # as the proxy of the rehearsal
        await asyncio.to_thread(self._kill)
        raise ConnectionResetError

    async def _whole(self, upstream: _Peer, head: h11.Response, path: str) -> Answer:
        body = await upstream.body()
        kept = [
            (name, value)
            for name, value in head.headers
            if name not in (b"content-length", b"transfer-encoding", b"connection")
        ]
        if path.endswith("/listClusterUserCredential") and head.status_code == 200:
            body = self._stand_before_cluster(body)
        return Answer(head.status_code, body, kept)

    def _stand_before_cluster(self, body: bytes) -> bytes:
        """Have the client find the cluster's API at this proxy."""
        answer = json.loads(body)
        for entry in answer["kubeconfigs"]:
            kubeconfig = yaml.safe_load(b64decode(entry["value"]))
            cluster = kubeconfig["clusters"][0]["cluster"]
            self._cluster = urlsplit(cluster["server"])
            cluster["server"] = f"https://localhost:{self._cluster_port}"
            cluster["certificate-authority-data"] = b64encode(self._certificate).decode()
            entry["value"] = b64encode(yaml.safe_dump(kubeconfig).encode()).decode()
        return json.dumps(answer).encode()

    async def _stream(self, client: _Peer, upstream: _Peer, head: h11.Response, *, cut: bool) -> None:
        await client.send(head)
        while isinstance(event := await upstream.event(), h11.Data):
            await client.send(event)
            if cut:
                raise _Over
        await client.send(event)

    async def _switch(self, client: _Peer, upstream: _Peer, head: h11.InformationalResponse, *, cut: bool) -> None:
        """Pass on a WebSocket; `cut` ends it with the server's first bytes."""
        await client.send(head)
        client.writer.write(upstream.http.trailing_data[0])
        upstream.writer.write(client.http.trailing_data[0])

        async def pipe(source: _Peer, destination: _Peer) -> None:
            while data := await source.reader.read(_CHUNK):
                destination.writer.write(data[: len(data) // 2] if cut and source is upstream else data)
                await destination.writer.drain()
                if cut and source is upstream:
                    return

        pipes = [asyncio.ensure_future(pipe(client, upstream)), asyncio.ensure_future(pipe(upstream, client))]
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        for task in pipes:
            task.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)
        upstream.writer.close()
        raise _Over


def _events(answer: Answer) -> tuple[Any, ...]:
    bodiless = answer.status in (204, 304)
    length = [] if bodiless else [(b"content-length", str(len(answer.body)).encode())]
    head = h11.Response(status_code=answer.status, headers=[*answer.headers, *length])
    return head, *([h11.Data(data=answer.body)] if answer.body else []), h11.EndOfMessage()
