"""Microsoft.Network and Microsoft.Compute: kept as they are given; nothing runs behind them."""

from __future__ import annotations

from airflowaks.rehearsal.resource_types import Provider, ResourceType


class Network(Provider):
    """Networks, addresses and zones: every type of resource is served by the generic behaviour alone."""

    namespace = "Microsoft.Network"

    def other(self, kind: str) -> ResourceType:
        """Return the generic behaviour under the name of `kind`."""
        attributes = {"namespace": self.namespace, "type": kind, "tracked": "/" not in kind, "__doc__": self.__doc__}
        generic: ResourceType = type("Generic", (ResourceType,), attributes)()
        return generic


class Compute(Network):
    """Machines and disks, which are served as networks are."""

    namespace = "Microsoft.Compute"
