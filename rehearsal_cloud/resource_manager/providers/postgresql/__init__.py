"""Microsoft.DBforPostgreSQL: flexible servers with a real PostgreSQL behind each."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.providers.postgresql.access import Administrator, FirewallRule
from rehearsal_cloud.resource_manager.providers.postgresql.configurations import Configuration
from rehearsal_cloud.resource_manager.providers.postgresql.databases import Database
from rehearsal_cloud.resource_manager.providers.postgresql.editions import capabilities
from rehearsal_cloud.resource_manager.providers.postgresql.instances import Instances
from rehearsal_cloud.resource_manager.providers.postgresql.servers import FlexibleServer
from rehearsal_cloud.resource_manager.providers.postgresql.upgrades import Precheck
from rehearsal_cloud.resource_manager.resource_types import Answer, Call, Provider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document


class PostgreSql(Provider):
    """The provider of flexible servers."""

    namespace = "Microsoft.DBforPostgreSQL"

    def __init__(self) -> None:
        instances = Instances()
        kinds = (FlexibleServer, Administrator, Configuration, Database, FirewallRule, Precheck)
        super().__init__(*(kind(instances) for kind in kinds))

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the check of names, a location's capabilities, and what is listed of a server besides children."""
        return {
            ("post", "checknameavailability"): self._check_name,
            ("post", "locations/checknameavailability"): self._check_name,
            ("get", "locations/capabilities"): self._capabilities,
            ("get", "flexibleservers/capabilities"): self._server_capabilities,
            ("get", "flexibleservers/backups"): self._backups,
            ("get", "flexibleservers/replicas"): self._replicas,
        }

    async def _check_name(self, call: Call) -> Answer:
        action = "Microsoft.DBforPostgreSQL/checkNameAvailability/action"
        call.cloud.authorization.require(call.principal, action, call.id.scope)
        name, answer = str(call.body.get("name", "")), {"nameAvailable": True, "message": ""}
        if not re.fullmatch(FlexibleServer.name_rule, name):
            answer = {"nameAvailable": False, "reason": "Invalid", "message": FlexibleServer.name_text}
        elif call.cloud.names.owner(FlexibleServer.global_name, name) is not None:
            text = "Specified server name is already used."
            answer = {"nameAvailable": False, "reason": "AlreadyExists", "message": text}
        return Answer(
            {"name": name, "type": call.body.get("type", "Microsoft.DBforPostgreSQL/flexibleServers"), **answer}
        )

    async def _capabilities(self, call: Call) -> Answer:
        action = "Microsoft.DBforPostgreSQL/locations/capabilities/read"
        call.cloud.authorization.require(call.principal, action, call.id.scope)
        return Answer({"value": [capabilities(call.cloud.faults)]})

    async def _server_capabilities(self, call: Call) -> Answer:
        """Answer what a server can be changed to, as `az postgres flexible-server update` asks first."""
        _server(call)
        return Answer({"value": [capabilities(call.cloud.faults)]})

    async def _backups(self, call: Call) -> Answer:
        """Answer the automatic backup that follows a server's creation; nothing is backed up here."""
        server = _server(call)
        created = datetime.fromisoformat(server["systemData"]["createdAt"])
        name = f"backup_{int(created.timestamp() * 1e7)}"
        backup = {
            "id": f"{server['id']}/backups/{name}",
            "name": name,
            "type": "Microsoft.DBforPostgreSQL/flexibleServers/backups",
            "properties": {"backupType": "Full", "completedTime": created.isoformat(), "source": "Automatic"},
        }
        return Answer({"value": [backup]})

    async def _replicas(self, call: Call) -> Answer:
        _server(call)
        return Answer({"value": []})


def _server(call: Call) -> Document:
    """Return the server that a listing below it is about. Raises ServiceError."""
    server = call.id.top
    document = call.cloud.resource(server)
    if document is None:
        text = f"The Resource '{server.full_type}/{server.name}' under resource group '{server.group}' was not found."
        raise ServiceError(404, "ResourceNotFound", text)
    call.cloud.authorization.require(call.principal, f"{call.id.full_type}/read", server.path)
    return document
