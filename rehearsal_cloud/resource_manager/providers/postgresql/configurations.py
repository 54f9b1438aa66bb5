"""Configurations: a server's parameters, each a resource that is there from the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.providers.postgresql.flexible_resource import ServerChild
from rehearsal_cloud.resource_manager.providers.postgresql.parameters import Parameter, parameter, parameter_document
from rehearsal_cloud.resource_manager.providers.postgresql.server_rules import invalid
from rehearsal_cloud.resource_manager.resource_types import find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_types import Call


class Configuration(ServerChild):
    """A server parameter; PostgreSQL's own are really set."""

    type = "flexibleServers/configurations"
    name_rule = r"[-\w.]+"
    seconds: ClassVar[Mapping[str, float]] = {"create": 60, "update": 60, "delete": 0}

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Refuse parameters that the server does not have, read-only ones, and values out of range."""
        del existing
        one, value = _known(call.id.name), find(body, "properties.value")
        if one.read_only:
            raise invalid("configurationName", f"The parameter '{one.name}' is read-only.")
        if not isinstance(value, str) or not one.accepts(value):
            raise invalid(one.name, f"Allowed: {one.allowed}.")

    def validate_delete(self, call: Call, document: Document) -> None:
        """Refuse: parameters are changed, never deleted."""
        del document
        raise ServiceError(405, "MethodNotAllowed", f"The parameter '{call.id.name}' cannot be deleted.")

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the parameter with its value."""
        del existing
        server = call.id.top.path
        return parameter_document({"id": server}, _known(call.id.name), body["properties"]["value"], "user-override")

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Set the parameter in PostgreSQL; note where that takes a restart. Raises ServiceError."""
        import psycopg

        del verb
        one = _known(document["name"])
        static = not one.dynamic
        if one.engine:
            try:
                static = await self.instance(document).server.set_parameter(one.name, document["properties"]["value"])
            except psycopg.DataError as fault:
                raise invalid(one.name, str(fault)) from fault
        document["properties"]["isConfigPendingRestart"] = static
        cloud.keep(document)


def _known(name: str) -> Parameter:
    found = parameter(name)
    if found is None:
        raise invalid("configurationName", f"The server has no parameter '{name}'.")
    return found
