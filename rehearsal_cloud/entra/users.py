"""The users of the tenant: ready-made, one for each part that a user plays, and read through Microsoft Graph.

Source: https://learn.microsoft.com/graph/api/resources/user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.graph_answers import (
    CONTEXT,
    conditions_of,
    directory_of,
    matches,
    missing,
    object_body,
    page,
)

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.graph_answers import Operation


class Users:
    """The operations on users."""

    def routes(self) -> list[Operation]:
        """Return method, path and handler of each operation."""
        return [("GET", "/me", self._me), ("GET", "/users", self._list), ("GET", "/users/{id}", self._get)]

    async def _me(self, request: Request) -> Response:
        principal = directory_of(request).principal(request.state.principal)
        if principal is None or principal.kind != "User":
            text = "/me request is only valid with delegated authentication flow."
            return JSONResponse({"error": {"code": "BadRequest", "message": text}}, 400)
        return JSONResponse(
            {"@odata.context": f"{CONTEXT}#users/$entity", **object_body(directory_of(request), principal)}
        )

    async def _list(self, request: Request) -> Response:
        conditions = conditions_of(request)
        return page(request, "users", [body for body in _bodies(request) if matches(body, conditions)])

    async def _get(self, request: Request) -> Response:
        key = request.path_params["id"].lower()
        for body in _bodies(request):
            if key in (body["id"], body["userPrincipalName"]):
                return JSONResponse({"@odata.context": f"{CONTEXT}#users/$entity", **body})
        raise missing(key)


def _bodies(request: Request) -> list[Document]:
    directory = directory_of(request)
    return [object_body(directory, user) for user in directory.principals("User")]
