"""Microsoft.DBforPostgreSQL: flexible servers with a real PostgreSQL behind each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.providers.postgresql.access import Administrator, FirewallRule
from rehearsal_cloud.resource_manager.providers.postgresql.configurations import Configuration
from rehearsal_cloud.resource_manager.providers.postgresql.databases import Database
from rehearsal_cloud.resource_manager.providers.postgresql.editions import capabilities
from rehearsal_cloud.resource_manager.providers.postgresql.instances import Instances
from rehearsal_cloud.resource_manager.providers.postgresql.servers import FlexibleServer
from rehearsal_cloud.resource_manager.resource_types import Answer, Call, Provider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


class PostgreSql(Provider):
    """The provider of flexible servers."""

    namespace = "Microsoft.DBforPostgreSQL"

    def __init__(self) -> None:
        instances = Instances()
        kinds = (FlexibleServer, Administrator, Configuration, Database, FirewallRule)
        super().__init__(*(kind(instances) for kind in kinds))

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the check of names and a location's capabilities."""
        return {
            ("post", "checknameavailability"): self._check_name,
            ("post", "locations/checknameavailability"): self._check_name,
            ("get", "locations/capabilities"): self._capabilities,
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
