"""The activity log: the writes through Resource Manager, with their callers and results.

Form of the events: https://learn.microsoft.com/azure/azure-monitor/platform/activity-log-schema
"""

from __future__ import annotations

import itertools
import json
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.resource_ids import ResourceId

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.errors import ServiceError
    from rehearsal_cloud.resource_manager.operations import Operation
    from rehearsal_cloud.store import Store

_EVENTS = "activity"
_MOST = 1000
_VERBS = {"PUT": "write", "PATCH": "write", "DELETE": "delete", "POST": "action"}
_OPERATIONS = {"create": "write", "update": "write", "delete": "delete", "action": "action"}
_FIRST_ERROR, _ACCEPTED = 400, 202
_NUMBERS = itertools.count()


class ActivityLog:
    """The newest events of the subscription. Like Azure's, it has no reads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def answered(self, request: Request, response: Response) -> None:
        """Record the answer to a request to Resource Manager."""
        rid, verb = ResourceId.parse(request.url.path), _VERBS.get(request.method)
        if rid is None or verb is None:
            return
        failed = response.status_code >= _FIRST_ERROR
        ended = response.status_code != _ACCEPTED and "azure-asyncoperation" not in response.headers
        status = "Failed" if failed else "Succeeded" if ended else "Accepted"
        caller = str(getattr(request.state, "principal", ""))
        self._note(rid, verb, status, caller, bytes(response.body).decode() if failed else "")

    def ended(self, operation: Operation, error: ServiceError | None) -> None:
        """Record the end of a long-running operation."""
        if (rid := ResourceId.parse(operation.path)) is not None:
            text = json.dumps({"error": error.error()}) if error else ""
            self._note(rid, _OPERATIONS[operation.verb], "Failed" if error else "Succeeded", "", text)

    def events(self) -> list[Document]:
        """Return the events, newest first."""
        return self._store.scan(_EVENTS)[::-1]

    def _note(self, rid: ResourceId, verb: str, status: str, caller: str, message: str) -> None:
        now = datetime.now(UTC).isoformat()
        subject = rid.path if rid.is_instance or rid.parent is None else rid.parent.path
        number = next(_NUMBERS)
        event = {
            "eventDataId": str(uuid.uuid4()),
            "eventTimestamp": now,
            "submissionTimestamp": now,
            "caller": caller,
            "category": {"value": "Administrative", "localizedValue": "Administrative"},
            "operationName": {"value": f"{rid.full_type}/{verb}", "localizedValue": f"{rid.full_type}/{verb}"},
            "resourceId": subject,
            "resourceGroupName": rid.group,
            "resourceProviderName": {"value": rid.namespace, "localizedValue": rid.namespace},
            "level": "Error" if status == "Failed" else "Informational",
            "status": {"value": status, "localizedValue": status},
            "properties": {"statusMessage": message} if message else {},
        }
        self._store.put(_EVENTS, f"{time.time_ns():020} {number:06}", event)
        if number % _MOST == 0:
            self._forget()

    def _forget(self) -> None:
        """Delete the oldest events beyond the limit; Azure keeps them for 90 days."""
        for key in self._store.keys(_EVENTS)[:-_MOST]:
            self._store.delete(_EVENTS, key)
