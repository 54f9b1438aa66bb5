"""The channels of Kubernetes' WebSocket protocols: each message begins with the number of its channel.

v4 and v5 of `channel.k8s.io`: https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from starlette.websockets import WebSocketDisconnect

from rehearsal_cloud.kubernetes.failures import bad_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.websockets import WebSocket

    from rehearsal_cloud.documents import Document

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255
"""The channel of v5 whose messages name a channel that the client closes."""

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


class Channels:
    """An accepted WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self.input_ended = False

    @classmethod
    async def accept(cls, websocket: WebSocket, protocols: Sequence[str] = PROTOCOLS) -> Channels:
        """Accept with the first common protocol. Raises Failure (400)."""
        offered = websocket.scope.get("subprotocols") or []
        chosen = next((protocol for protocol in protocols if protocol in offered), None)
        if chosen is None:
            raise bad_request(f"unable to upgrade: {offered} are not among the supported protocols {list(protocols)}")
        await websocket.accept(chosen)
        return cls(websocket)

    async def send(self, channel: int, data: bytes) -> None:
        """Send data on a channel; a disconnected client is ignored."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._websocket.send_bytes(bytes([channel]) + data)

    async def received(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield channel and data of each message, until the client disconnects."""
        while True:
            message = await self._websocket.receive()
            if message["type"] != "websocket.receive":
                return
            data = message.get("bytes") or (message.get("text") or "").encode()
            if data:
                self.input_ended |= data == bytes([CLOSE, STDIN])
                yield data[0], data[1:]

    async def end(self, status: Document) -> None:
        """Send the outcome on the error channel, and close."""
        await self.send(ERROR, json.dumps(status).encode())
        await self.close()

    async def close(self) -> None:
        """Close the WebSocket."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._websocket.close(1000)
