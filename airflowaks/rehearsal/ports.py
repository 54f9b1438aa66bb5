"""The loopback ports that services answer on: chosen once, remembered with the resource, kept over restarts."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflowaks.rehearsal.cloud import Cloud
    from airflowaks.rehearsal.store import Document
    from airflowaks.rehearsal.tls import TlsTerminator

_LOG = logging.getLogger(__name__)


async def listen(cloud: Cloud, document: Document, way_in: TlsTerminator) -> None:
    """Start `way_in` on the port that the resource remembers; where another program has it, move and remember that."""
    try:
        await way_in.start()
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        way_in.port = 0
        await way_in.start()
        _LOG.warning("%s moved from port %s to %s", document["id"], document["_secret"]["port"], way_in.port)
        document["_secret"]["port"] = way_in.port
        cloud.keep(document)
