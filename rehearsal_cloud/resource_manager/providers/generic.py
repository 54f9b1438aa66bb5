"""Providers whose resources are only stored: they have no backends."""

from __future__ import annotations

from rehearsal_cloud.resource_manager.resource_types import Provider, ResourceType


class GenericProvider(Provider):
    """A provider with generic types only."""

    def default_type(self, kind: str) -> ResourceType:
        """Return the generic behaviour under the name of `kind`."""
        attributes = {"namespace": self.namespace, "type": kind, "tracked": "/" not in kind, "__doc__": self.__doc__}
        generic: ResourceType = type("Generic", (ResourceType,), attributes)()
        return generic
