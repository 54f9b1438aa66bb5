"""Providers whose resources are kept as they are given: nothing runs behind them here."""

from __future__ import annotations

from rehearsal_cloud.resource_manager.resource_types import Provider, ResourceType


class GenericProvider(Provider):
    """A provider all of whose types are served by the generic behaviour alone."""

    def other(self, kind: str) -> ResourceType:
        """Return the generic behaviour under the name of `kind`."""
        attributes = {"namespace": self.namespace, "type": kind, "tracked": "/" not in kind, "__doc__": self.__doc__}
        generic: ResourceType = type("Generic", (ResourceType,), attributes)()
        return generic


class Network(GenericProvider):
    """Networks, addresses and zones."""

    namespace = "Microsoft.Network"
