"""Forwarded ports over WebSockets: two channels for each, one for data and one for what went wrong.

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
    """Pass on a connection to each port that the query names, until the client goes."""
    try:
        asked = ",".join(websocket.query_params.getlist("ports")).split(",")
        ports = [int(one) for one in asked]
    except ValueError:
        raise bad_request('query parameter "ports" is required') from None
    channels = await Channels.accept(websocket, PROTOCOLS)
    for number, port in enumerate(ports):
        for channel in (2 * number, 2 * number + 1):
            await channels.send(channel, port.to_bytes(2, "little"))
    writers = {
        2 * number: await _connected(channels, network, ip, port, 2 * number) for number, port in enumerate(ports)
    }
    streams = {channel: one[0] for channel, one in writers.items() if one is not None}
    passing = asyncio.create_task(_pass_all_on(streams, channels))
    try:
        async for channel, data in channels.received():
            if (there := writers.get(channel)) is not None:
                with contextlib.suppress(OSError):
                    there[1].write(data)
                    await there[1].drain()
    finally:
        for one in writers.values():
            if one is not None:
                one[1].close()
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
