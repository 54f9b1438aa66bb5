"""The endpoint of a cluster's API: its own TLS port on loopback, in the daemon's event loop."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import ssl

    from starlette.types import ASGIApp

_STOP_SECONDS = 1
_IDLE_SECONDS = 90
"""Of a connection, as IdleTimeout in k8s.io/apiserver's secure_serving.go; kubectl evicts again on one every five."""


class Endpoint:
    """Serves an application on `port` of 127.0.0.1; port 0 means any free port, set when it has started."""

    def __init__(self, application: ASGIApp, port: int, context: ssl.SSLContext) -> None:
        self.port = port
        self._config = uvicorn.Config(
            application,
            ssl_context_factory=lambda *_: context,
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
            timeout_keep_alive=_IDLE_SECONDS,
        )
        self._server: uvicorn.Server | None = None
        self._listener: socket.socket | None = None

    async def start(self) -> None:
        """Start serving. Raises OSError where another program has the port."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self.port))
            listener.listen()
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._listener = listener
        # Not serve(): it would handle the daemon's signals, and poll ten times a second for its end.
        self._config.load()
        self._server = uvicorn.Server(self._config)
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup([listener])

    async def stop(self) -> None:
        """Stop serving; connections still open after a second are closed."""
        if self._server is not None and self._listener is not None:
            await self._server.shutdown([self._listener])
            # For idle connections uvicorn only starts the end of TLS, which an idle client may never answer.
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)
        self._server = self._listener = None
