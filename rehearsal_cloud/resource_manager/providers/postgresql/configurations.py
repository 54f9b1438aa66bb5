"""Configurations: a server's parameters, created with the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.providers.postgresql.flexible_resource import ServerChild
from rehearsal_cloud.resource_manager.providers.postgresql.parameters import (
    Parameter,
    find_parameter,
    parameter_document,
)
from rehearsal_cloud.resource_manager.providers.postgresql.server_rules import invalid
from rehearsal_cloud.resource_manager.resource_types import find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_types import Call


class Configuration(ServerChild):
    """A server parameter; PostgreSQL's parameters are set in the server."""

    type = "flexibleServers/configurations"
    name_rule = r"[-\w.]+"
    seconds: ClassVar[Mapping[str, float]] = {"create": 60, "update": 60, "delete": 0}

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Reject unknown and read-only parameters, and invalid values."""
        del existing
        parameter, value = _existing(call.id.name), find(body, "properties.value")
        if parameter.read_only:
            raise invalid("configurationName", f"The parameter '{parameter.name}' is read-only.")
        if not isinstance(value, str) or not parameter.accepts(value):
            raise invalid(parameter.name, f"Allowed: {parameter.allowed}.")

    def validate_delete(self, call: Call, document: Document) -> None:
        """Reject the deletion: parameters can only be changed."""
        del document
        raise ServiceError(405, "MethodNotAllowed", f"The parameter '{call.id.name}' cannot be deleted.")

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the parameter with its value."""
        del existing
        server = call.id.top.path
        return parameter_document({"id": server}, _existing(call.id.name), body["properties"]["value"], "user-override")

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Set the parameter in PostgreSQL; record a required restart. Raises ServiceError."""
        import psycopg

        del verb
        parameter = _existing(document["name"])
        static = not parameter.dynamic
        if parameter.engine:
            try:
                static = await self.instance(document).server.set_parameter(
                    parameter.name, document["properties"]["value"]
                )
            except psycopg.DataError as fault:
                raise invalid(parameter.name, str(fault)) from fault
        document["properties"]["isConfigPendingRestart"] = static
        cloud.keep(document)


def _existing(name: str) -> Parameter:
    parameter = find_parameter(name)
    if parameter is None:
        raise invalid("configurationName", f"The server has no parameter '{name}'.")
    return parameter
