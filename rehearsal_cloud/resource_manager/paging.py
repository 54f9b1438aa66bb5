"""Pages of a list: `nextLink` leads to the next one, as `x-ms-pageable` in Microsoft's OpenAPI files says.

The sizes of Azure's pages are not documented. Small ones show a client that reads only the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.resource_types import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.resource_types import Call

_SKIP = "$skiptoken"


def paged(call: Call, items: Sequence[Document], size: int) -> Answer:
    """Answer the page of at most `size` items that the request's skip token names. Raises ServiceError."""
    token = call.query.get(_SKIP, "0")
    if not token.isdecimal():
        raise ServiceError(400, "BadRequest", f"The {_SKIP} '{token}' is not valid.")
    end = int(token) + size
    page: Document = {"value": list(items[int(token) : end])}
    if end < len(items):
        query = urlencode({**call.query, _SKIP: end})
        page["nextLink"] = f"https://management.azure.com{call.id.path}?{query}"
    return Answer(page)
