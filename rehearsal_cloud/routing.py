"""Services of the rehearsal: handlers that turn a request into an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from rehearsal_cloud.errors import ServiceError, not_found

if TYPE_CHECKING:
    from collections.abc import Sequence

Handler = Callable[[Request], Awaitable[Response]]


def routed(routes: Sequence[Route]) -> Handler:
    """Return a handler that dispatches a request to its route; a ServiceError becomes an error body."""

    async def answer(request: Request) -> Response:
        for route in routes:
            match, child_scope = route.matches(request.scope)
            if match is Match.FULL:
                request.scope.update(child_scope)
                try:
                    return await route.endpoint(request)  # type: ignore[no-any-return]  # Starlette types it as Any
                except ServiceError as error:
                    return error.response()
        return not_found(request.url.path).response()

    return answer
