"""The loopback ports of services: chosen once, stored with the resource, kept across restarts."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal_cloud.documents import Document

_LOG = logging.getLogger(__name__)


class WayIn(Protocol):
    """A listener on `port`, known after its start; port 0 means any free port."""

    port: int

    async def start(self) -> None:
        """Start listening. Raises OSError where another program has the port."""


async def listen(document: Document, way_in: WayIn, keep: Callable[[Document], None]) -> None:
    """Start `way_in` on the resource's stored port; if another program has it, choose a new port and `keep` it."""
    try:
        await way_in.start()
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        way_in.port = 0
        await way_in.start()
        _LOG.warning("%s moved from port %s to %s", document["id"], document["_secret"]["port"], way_in.port)
        document["_secret"]["port"] = way_in.port
        keep(document)
