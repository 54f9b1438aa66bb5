"""Polling of long-running operations: the URLs for clients, and their answers.

Source: https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import SUBSCRIPTION_ID
from rehearsal_cloud.resource_manager.resource_ids import ResourceId

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.operations import Operation
    from rehearsal_cloud.resource_manager.resource_types import Call, ResourceType
    from rehearsal_cloud.resource_manager.resources import Resources

HOST = "https://management.azure.com"


class Polling:
    """The polling of the operations that providers' resources go through."""

    def __init__(self, cloud: Cloud, resources: Resources) -> None:
        self._cloud = cloud
        self._resources = resources

    def polled(self, rid: ResourceId) -> Operation | None:
        """Return the operation that a request polls, or None where it reads a resource. Raises ServiceError (404)."""
        if not rid.is_instance or not re.fullmatch(r"operation(s?status(es)?|results?)", rid.types[-1].lower()):
            return None
        operation = self._cloud.operations.get(rid.name)
        if operation is None:
            raise ServiceError(404, "NotFound", f"The operation '{rid.name}' was not found.")
        return operation

    def answer(self, operation: Operation, call: Call) -> Response:
        """Answer a poll: the status resource, or, at the results URL, the result itself."""
        headers = operation.poll_headers
        if "result" not in call.id.types[-1].lower():
            return JSONResponse(operation.view(call.id.path), headers=headers)
        if operation.running:
            headers["Location"] = f"{HOST}{call.id.path}?api-version={call.api_version}"
            return Response(None, 202, headers)
        if operation.error is not None:
            return JSONResponse({"error": operation.error}, 400)
        target = ResourceId.parse(operation.path)
        document = self._cloud.resource(target) if target and target.is_instance else None
        if document is not None:
            return JSONResponse(self._resources.kind(document).view(document))
        result = operation.arguments.get("result")
        return Response(None, 204) if result is None else JSONResponse(result)

    def headers(self, kind: ResourceType | None, operation: Operation, call: Call) -> dict[str, str]:
        """Return the headers with the polling URL and interval of the operation."""
        # A client cannot poll a resource in deletion until it is gone: that needs an operation's URL.
        if kind is not None and kind.polling == "state" and call.method != "DELETE":
            return operation.poll_headers
        location = self._cloud.location(call.id)
        base = f"{HOST}/subscriptions/{SUBSCRIPTION_ID}/providers/{call.id.namespace}/locations/{location}"
        query = f"?api-version={call.api_version}"
        status_type = kind.status_type if kind else "operationStatuses"
        return {
            "Azure-AsyncOperation": f"{base}/{status_type}/{operation.id}{query}",
            "Location": f"{base}/operationResults/{operation.id}{query}",
            **operation.poll_headers,
        }

    def retry_after(self, document: Document) -> dict[str, str]:
        """Return the polling interval for a client that polls a resource during an operation."""
        operation = self._cloud.operations.get(document.get("_operation", ""))
        return operation.poll_headers if operation else {}
