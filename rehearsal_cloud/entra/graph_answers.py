"""What the answers of Microsoft Graph have in common: objects, pages, filters, errors and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import JSONResponse

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import TENANT_ID

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra, Kind, Principal

    Operation = tuple[str, str, Callable[[Request], Awaitable[Response]]]
    """Method, path and handler."""

CONTEXT = "https://graph.microsoft.com/v1.0/$metadata"
_ODATA_TYPES: dict[Kind, str] = {
    "Group": "#microsoft.graph.group",
    "ServicePrincipal": "#microsoft.graph.servicePrincipal",
    "User": "#microsoft.graph.user",
}
SERVICE_PRINCIPAL: Document = {"accountEnabled": True, "appRoleAssignmentRequired": False, "notes": None, "tags": []}
"""What may be changed of a service principal, and what a new one has of it."""
_SKIP = "$skiptoken"
_LARGEST_TOP, _LARGEST_PAGE = 999, 100


def directory_of(request: Request) -> Entra:
    """Return the directory as the replica has it that answers the request."""
    directory: Entra = request.state.directory
    return directory


def existing(request: Request, kind: Kind) -> Principal:
    """Return the principal that the path names, by `id` or `appId`. Raises ServiceError (404)."""
    object_id, directory = request.path_params["id"], directory_of(request)
    principal = directory.by_app_id(object_id) if "(appId=" in request.url.path else directory.principal(object_id)
    if principal is None or principal.kind != kind:
        raise missing(object_id)
    return principal


def objects_of(request: Request, ids: list[str]) -> list[Document]:
    """Return the objects of these IDs that exist."""
    directory = directory_of(request)
    return [object_body(directory, principal) for principal in map(directory.principal, ids) if principal]


def object_body(directory: Entra, principal: Principal) -> Document:
    """Return a principal as a directory object."""
    body: Document = {"@odata.type": _ODATA_TYPES[principal.kind], "id": principal.object_id}
    if principal.kind == "Group":
        return body | group_body(directory, principal.object_id)
    if principal.kind == "User":
        return {**body, "accountEnabled": True, **(directory.store.get("users", principal.object_id) or {})}
    return {
        **body,
        "displayName": principal.name,
        "appId": principal.app_id,
        "appDisplayName": principal.name,
        "appOwnerOrganizationId": TENANT_ID,
        "servicePrincipalNames": [principal.app_id],
        "servicePrincipalType": "Application",
        **(directory.store.get("service-principals", principal.object_id) or SERVICE_PRINCIPAL),
    }


def group_body(directory: Entra, object_id: str) -> Document:
    """Return a group."""
    kept = directory.store.get("groups-of-entra", object_id) or {}
    return {"id": object_id, "groupTypes": [], "visibility": None, **kept}


def id_of(reference: str) -> str:
    """Return the object ID at the end of an `@odata.id`."""
    return reference.rstrip("/").rpartition("/")[2].lower()


def of_either_key(collection: str, *operations: Operation) -> list[Operation]:
    """Return the operations on an object of a collection, which its `id` and its `appId` name alike."""
    return [
        (method, f"/{collection}{key}{path}", handler)
        for key in ("(appId='{id}')", "/{id}")
        for method, path, handler in operations
    ]


def page(request: Request, context: str, items: list[Document]) -> JSONResponse:
    """Answer a page; `@odata.nextLink` leads to the next. A page may be smaller than `$top`, here 100 at most.

    https://learn.microsoft.com/graph/paging; items have the properties that `$select` names:
    https://learn.microsoft.com/graph/query-parameters#select-parameter
    """
    query = request.query_params
    start, top = query.get(_SKIP, "0"), query.get("$top", str(_LARGEST_PAGE))
    if not start.isdecimal() or not top.isdecimal() or not 1 <= int(top) <= _LARGEST_TOP:
        raise ServiceError(400, "Request_BadRequest", "Invalid page size or skip token specified.")
    end = int(start) + min(int(top), _LARGEST_PAGE)
    selected = query.get("$select", "").split(",")
    shown = [
        {name: value for name, value in item.items() if selected == [""] or name in selected or name.startswith("@")}
        for item in items[int(start) : end]
    ]
    body: Document = {"@odata.context": f"{CONTEXT}#{context}", "value": shown}
    if end < len(items):
        link = urlencode({**query, _SKIP: end})
        body["@odata.nextLink"] = f"https://graph.microsoft.com{request.url.path}?{link}"
    return JSONResponse(body)


def conditions_of(request: Request) -> dict[str, str]:
    """Return the `field eq 'value'` conditions of a request's filter."""
    condition = request.query_params.get("$filter", "")
    return dict(re.findall(r"(\w+) eq '((?:[^']|'')*)'", condition))


def matches(body: Document, conditions: dict[str, str]) -> bool:
    """Tell whether a body meets the conditions, in any case of letters."""
    return all(
        str(body.get(field, "")).lower() == value.replace("''", "'").lower() for field, value in conditions.items()
    )


def missing(object_id: str) -> ServiceError:
    """Return the error (404) for an object that the directory does not have."""
    text = f"Resource '{object_id}' does not exist or one of its queried reference-property objects are not present."
    return ServiceError(404, "Request_ResourceNotFound", text)


def now() -> str:
    """Return the time in Graph's format."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
