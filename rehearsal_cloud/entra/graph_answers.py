"""What the answers of Microsoft Graph have in common: pages, filters, errors and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import JSONResponse

from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.documents import Document

CONTEXT = "https://graph.microsoft.com/v1.0/$metadata"
_SKIP = "$skiptoken"
_LARGEST_TOP, _LARGEST_PAGE = 999, 100


def page(request: Request, context: str, items: list[Document]) -> JSONResponse:
    """Answer a page; `@odata.nextLink` leads to the next. A page may be smaller than `$top`, here 100 at most.

    https://learn.microsoft.com/graph/paging
    """
    query = request.query_params
    start, top = query.get(_SKIP, "0"), query.get("$top", str(_LARGEST_PAGE))
    if not start.isdecimal() or not top.isdecimal() or not 1 <= int(top) <= _LARGEST_TOP:
        raise ServiceError(400, "Request_BadRequest", "Invalid page size or skip token specified.")
    end = int(start) + min(int(top), _LARGEST_PAGE)
    body: Document = {"@odata.context": f"{CONTEXT}#{context}", "value": items[int(start) : end]}
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
