"""The loopback ports of services: chosen once, stored with the resource, kept across restarts."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal_cloud.documents import Document

_LOG = logging.getLogger(__name__)


class Listener(Protocol):
    """A listener on `port`, known after its start; port 0 means any free port."""

    port: int

    async def start(self) -> None:
        """Start listening. Raises OSError where another program has the port."""


async def listen(document: Document, listener: Listener, keep: Callable[[Document], None]) -> None:
    """Start `listener` on the resource's stored port; if another program has it, choose a new port and `keep` it."""
    try:
        await listener.start()
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        listener.port = 0
        await listener.start()
        _LOG.warning("%s moved from port %s to %s", document["id"], document["_secret"]["port"], listener.port)
        document["_secret"]["port"] = listener.port
        keep(document)
