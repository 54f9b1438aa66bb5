"""Microsoft.Insights: the activity log of the subscription.

Filter: https://learn.microsoft.com/rest/api/monitor/activity-logs/list. Start and end, then one of the listed fields;
"no other syntax is allowed". The portal and `az monitor activity-log list` send some more of `eq`, and times without
quotes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.paging import paged
from rehearsal_cloud.resource_manager.resource_types import Provider, find

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.resource_types import Answer, Call

_FILTER = re.compile(
    r"eventTimestamp ge '?([^' ]+)'? and eventTimestamp le '?([^' ]+)'?((?: and \w+ eq '[^']*')*)", re.IGNORECASE
)
_FIELD = re.compile(r"(\w+) eq '([^']*)'")
_FIELDS = {
    "resourcegroupname": "resourceGroupName",
    "resourceuri": "resourceId",
    "resourceid": "resourceId",
    "resourceprovider": "resourceProviderName.value",
    "correlationid": "correlationId",
    "caller": "caller",
    "status": "status.value",
    "levels": "level",
    "eventchannels": "",  # every event here is administrative
}
_KEPT = timedelta(days=90)
_PAGE = 50


class Insights(Provider):
    """The provider of Azure Monitor; only its administrative events."""

    namespace = "Microsoft.Insights"

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the listing of events."""
        return {("get", "eventtypes/values"): self._events}

    async def _events(self, call: Call) -> Answer:
        """Answer a page of the events of a filter. Raises ServiceError."""
        call.cloud.authorization.require(call.principal, "Microsoft.Insights/eventtypes/values/read", call.id.scope)
        start, end, conditions = _parsed(call.query.get("$filter", ""))
        events = [
            event
            for event in call.cloud.activity_log.events()
            if start <= datetime.fromisoformat(event["eventTimestamp"]) <= end
            and all(_meets(event, field, value) for field, value in conditions)
        ]
        return paged(call, events, _PAGE)


def _parsed(condition: str) -> tuple[datetime, datetime, list[tuple[str, str]]]:
    """Return start, end and fields of a filter. Raises ServiceError.

    The error's words: https://github.com/MicrosoftDocs/feedback/issues/319; a start before the log's 90 days is
    refused too: https://github.com/Azure/azure-cli/issues/4885.
    """
    match = _FILTER.fullmatch(condition)
    conditions = [(field.lower(), value.lower()) for field, value in _FIELD.findall(match[3] if match else "")]
    try:
        if match is not None and all(field in _FIELDS for field, _ in conditions):
            start, end = (_time(text) for text in match.group(1, 2))
            if datetime.now(UTC) - _KEPT <= start <= end:
                return start, end, conditions
    except ValueError:
        pass  # not a time
    raise ServiceError(400, "BadRequest", "$filter searching parameters invalid.")


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _meets(event: Document, field: str, value: str) -> bool:
    path = _FIELDS[field]
    return not path or str(find(event, path) or "").lower() in value.split(",")
