"""Microsoft.Network: kept as it is given; nothing runs behind it."""

from __future__ import annotations

from airflowaks.rehearsal.resource_types import Provider


class Network(Provider):
    """Networks, addresses and zones, served by the generic behaviour alone."""

    namespace = "Microsoft.Network"
