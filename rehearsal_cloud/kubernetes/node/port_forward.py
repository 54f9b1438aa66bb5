"""Forwarded ports over WebSockets: each port has a channel for data and a channel for errors.

https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import bad_request
from rehearsal_cloud.kubernetes.node.channels import PROTOCOLS, Channels

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from rehearsal_cloud.kubernetes.node.network import Network

_CHUNK = 32 * 1024


async def forward(websocket: WebSocket, network: Network, ip: str) -> None:
    """Forward a connection to each port of the query, until the client disconnects."""
    try:
        requested = ",".join(websocket.query_params.getlist("ports")).split(",")
        ports = [int(number) for number in requested]
    except ValueError:
        raise bad_request('query parameter "ports" is required') from None
    channels = await Channels.accept(websocket, PROTOCOLS)
    for number, port in enumerate(ports):
        for channel in (2 * number, 2 * number + 1):
            await channels.send(channel, port.to_bytes(2, "little"))
    writers = {
        2 * number: await _connected(channels, network, ip, port, 2 * number) for number, port in enumerate(ports)
    }
    streams = {channel: connection[0] for channel, connection in writers.items() if connection is not None}
    passing = asyncio.create_task(_pass_all_on(streams, channels))
    try:
        async for channel, data in channels.received():
            if (connection := writers.get(channel)) is not None:
                with contextlib.suppress(OSError):
                    connection[1].write(data)
                    await connection[1].drain()
    finally:
        for connection in writers.values():
            if connection is not None:
                connection[1].close()
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)


async def _connected(
    channels: Channels, network: Network, ip: str, port: int, channel: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    try:
        return await asyncio.open_connection(*network.destination(ip, port))
    except OSError:
        text = f"error forwarding port {port} to pod, uid : failed to connect to localhost:{port} inside namespace"
        await channels.send(channel + 1, f"{text}: connect: connection refused".encode())
        return None


async def _pass_all_on(streams: dict[int, asyncio.StreamReader], channels: Channels) -> None:
    await asyncio.gather(*(_pass_on(reader, channels, channel) for channel, reader in streams.items()))
    await channels.close()


async def _pass_on(reader: asyncio.StreamReader, channels: Channels, channel: int) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            await channels.send(channel, data)
