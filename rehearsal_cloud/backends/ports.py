"""The loopback ports that services answer on: chosen once, remembered with the resource, kept over restarts."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal_cloud.documents import Document

_LOG = logging.getLogger(__name__)


class WayIn(Protocol):
    """Something that listens on `port` once it has started; port 0 means any."""

    port: int

    async def start(self) -> None:
        """Listen. Raises OSError where another program has the port."""


async def listen(document: Document, way_in: WayIn, keep: Callable[[Document], None]) -> None:
    """Start `way_in` on the port that the resource remembers; if another program has it, take another and `keep` it."""
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
