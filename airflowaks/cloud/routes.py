"""Routes to the backend: where this machine connects to, for a host and a port that a certificate is verified for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Route(Protocol):
    """The way from this machine to the servers of the backend."""

    def address(self, host: str, port: int) -> tuple[str | None, int]:
        """Return the IP address (None: the host's own) and the port to connect to. Raises AirflowAksError."""

    def explained(self, host: str) -> AbstractContextManager[None]:
        """Return a context that gives a failure to connect to `host` its reason."""


class Direct:
    """The direct way, which the backend's firewall must let in."""

    def address(self, host: str, port: int) -> tuple[str | None, int]:
        """Return the port alone."""
        del host
        return None, port

    def explained(self, host: str) -> AbstractContextManager[None]:
        """Change nothing: clients see the reason."""
        del host
        return nullcontext()
