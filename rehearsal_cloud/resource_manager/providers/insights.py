"""Microsoft.Insights: the activity log of the subscription."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.resource_types import Answer, Provider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.resource_manager.resource_types import Call

_CONDITION = re.compile(r"(\w+)\s+(ge|le|eq)\s+'([^']*)'")


class Insights(Provider):
    """The provider of Azure Monitor; only its administrative events."""

    namespace = "Microsoft.Insights"

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the listing of events."""
        return {("get", "eventtypes/values"): self._events}

    async def _events(self, call: Call) -> Answer:
        """Answer the events of a filter, which must have a start time. Raises ServiceError."""
        call.cloud.authorization.require(call.principal, "Microsoft.Insights/eventtypes/values/read", call.id.scope)
        conditions = {
            (name.lower(), how): value for name, how, value in _CONDITION.findall(call.query.get("$filter", ""))
        }
        try:
            since = datetime.fromisoformat(conditions["eventtimestamp", "ge"])
        except (KeyError, ValueError):
            text = "The $filter must name the time that events begin at: eventTimestamp ge."
            raise ServiceError(400, "BadRequest", text) from None
        group = conditions.get(("resourcegroupname", "eq"), "").lower()
        events = [
            event
            for event in call.cloud.activity_log.events()
            if datetime.fromisoformat(event["eventTimestamp"]) >= since
            and group in ("", event["resourceGroupName"].lower())
        ]
        return Answer({"value": events})
