"""graph.microsoft.com: service principals, and with `Groups` and `Applications` the rest of the directory.

Source: https://learn.microsoft.com/graph/api/resources/serviceprincipal. The operator may change all of
the directory (on Azure: directory roles such as Groups Administrator); `Permissions` decides for other principals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal_cloud.entra.applications import Applications
from rehearsal_cloud.entra.directory import GRAPH
from rehearsal_cloud.entra.graph_answers import (
    CONTEXT,
    conditions_of,
    directory_of,
    existing,
    matches,
    missing,
    object_body,
    objects_of,
    page,
)
from rehearsal_cloud.entra.groups import Groups
from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from rehearsal_cloud.entra.directory import Entra, Principal


class Graph:
    """Microsoft Graph v1.0. Each request reads from the replica whose turn it is."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra
        self._parts = (Groups(entra), Applications(entra))

    def routes(self) -> list[Route]:
        """Return the routes; each requires a valid Graph token."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/me", self._me),
            ("GET", "/servicePrincipals", self._service_principals),
            ("POST", "/servicePrincipals", self._create_service_principal),
            ("GET", "/servicePrincipals/{id}", self._service_principal),
            ("DELETE", "/servicePrincipals/{id}", self._delete_service_principal),
            ("POST", "/servicePrincipals/{id}/appRoleAssignments", self._assign_app_role),
            ("GET", "/users", self._users),
            ("GET", "/users/{id}", self._user),
            *(route for part in self._parts for route in part.routes()),
            ("POST", "/directoryObjects/getByIds", self._by_ids),
            ("POST", "/directoryObjects/{id}/checkMemberGroups", self._check_member_groups),
        ]
        return [Route(f"/v1.0{path}", self._signed_in(handler), methods=[method]) for method, path, handler in table]

    def _signed_in(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            try:
                principal = self._entra.verify(request.headers.get("authorization", ""), GRAPH)
                request.state.principal = principal.object_id
                request.state.directory = self._entra.replica()
                self._entra.permissions.require(principal.object_id, request.method, request.url.path)
                if request.method in ("POST", "PATCH"):
                    await _check_body(request)
                return await handler(request)
            except ServiceError as error:
                return error.response()

        return serve

    async def _me(self, _request: Request) -> Response:
        text = "/me request is only valid with delegated authentication flow."
        raise ServiceError(400, "BadRequest", text)

    async def _check_member_groups(self, request: Request) -> Response:
        """Answer which of the groups hold the object, directly or through another group."""
        identities = directory_of(request).identities(request.path_params["id"].lower())
        asked = [str(group).lower() for group in (await request.json()).get("groupIds", [])]
        held = [group for group in asked if group in identities]
        return JSONResponse({"@odata.context": f"{CONTEXT}#Collection(Edm.String)", "value": held})

    # Users, of which the rehearsal has none

    async def _users(self, request: Request) -> Response:
        return page(request, "users", [])

    async def _user(self, request: Request) -> Response:
        raise missing(request.path_params["id"])

    # Service principals

    async def _service_principals(self, request: Request) -> Response:
        condition = request.query_params.get("$filter", "")
        everyone = directory_of(request).principals("ServicePrincipal")
        if named := re.search(r"servicePrincipalNames/any\(\w+:\w+ eq '([^']*)'\)", condition):
            everyone = [principal for principal in everyone if principal.app_id == named.group(1).lower()]
        conditions = {} if named else conditions_of(request)
        bodies = [
            body
            for body in (object_body(self._entra, principal) for principal in everyone)
            if matches(body, conditions)
        ]
        return page(request, "servicePrincipals", bodies)

    async def _service_principal(self, request: Request) -> Response:
        return self._entity(existing(request, "ServicePrincipal"))

    async def _delete_service_principal(self, request: Request) -> Response:
        self._entra.remove(existing(request, "ServicePrincipal").object_id)
        return Response(None, 204)

    async def _create_service_principal(self, request: Request) -> Response:
        app_id = str((await request.json()).get("appId", "")).lower()
        application = directory_of(request).store.get("applications", app_id)
        if application is None:
            text = f"The appId '{app_id}' of the service principal does not reference a valid application object."
            raise ServiceError(400, "Request_BadRequest", text)
        if self._entra.by_app_id(app_id) is not None:
            text = f"The service principal cannot be created: one with the appId '{app_id}' is already in use."
            raise ServiceError(409, "Request_MultipleObjectsWithSameKeyValue", text)
        principal = self._entra.add("ServicePrincipal", application["name"], app_id)
        return self._entity(principal, 201)

    def _entity(self, principal: Principal, status: int = 200) -> Response:
        body = object_body(self._entra, principal)
        return JSONResponse({"@odata.context": f"{CONTEXT}#servicePrincipals/$entity", **body}, status)

    async def _assign_app_role(self, request: Request) -> Response:
        """Grant a permission of Microsoft Graph, the one API that has any here."""
        principal = existing(request, "ServicePrincipal")
        assignment = self._entra.permissions.assign(principal.object_id, str((await request.json()).get("appRoleId")))
        return JSONResponse({"@odata.context": f"{CONTEXT}#appRoleAssignments/$entity", **assignment}, 201)

    async def _by_ids(self, request: Request) -> Response:
        ids = [str(object_id).lower() for object_id in (await request.json()).get("ids", [])]
        return JSONResponse({"@odata.context": f"{CONTEXT}#directoryObjects", "value": objects_of(request, ids)})


async def _check_body(request: Request) -> None:
    """Raise ServiceError (400) for a body that is no JSON object.

    https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/6337 and, for none, #7083.
    """
    if not await request.body():
        raise ServiceError(400, "BadRequest", "Empty Payload. JSON content expected.")
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        text = (
            "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON"
            " format."
        )
        raise ServiceError(400, "BadRequest", text)
