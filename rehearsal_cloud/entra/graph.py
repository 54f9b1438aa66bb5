"""graph.microsoft.com: the directory, of which each kind of object has a module.

Source: https://learn.microsoft.com/graph/api/overview. The operator may change all of the directory (on Azure: by
directory roles such as Groups Administrator); `Permissions` decides for other principals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal_cloud.entra.app_role_assignments import AppRoleAssignments
from rehearsal_cloud.entra.application_credentials import ApplicationCredentials
from rehearsal_cloud.entra.applications import Applications
from rehearsal_cloud.entra.directory import GRAPH
from rehearsal_cloud.entra.graph_answers import CONTEXT, directory_of, missing, objects_of
from rehearsal_cloud.entra.groups import Groups
from rehearsal_cloud.entra.permission_grants import PermissionGrants
from rehearsal_cloud.entra.service_principals import ServicePrincipals
from rehearsal_cloud.entra.users import Users
from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from rehearsal_cloud.entra.directory import Entra
    from rehearsal_cloud.entra.graph_answers import Operation


class Graph:
    """Microsoft Graph v1.0. Each request reads from the replica whose turn it is."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra
        self._parts = (
            *(Users(), Groups(entra), Applications(entra), ApplicationCredentials(entra)),
            *(ServicePrincipals(entra), AppRoleAssignments(entra), PermissionGrants(entra)),
        )

    def routes(self) -> list[Route]:
        """Return the routes; each requires a valid Graph token."""
        table: list[Operation] = [
            *(route for part in self._parts for route in part.routes()),
            ("POST", "/directoryObjects/getByIds", self._by_ids),
            ("POST", "/directoryObjects/{id}/checkMemberGroups", self._check_member_groups),
            ("POST", "/roleManagement/directory/roleAssignments", self._assign_directory_role),
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

    async def _check_member_groups(self, request: Request) -> Response:
        """Answer which of the groups hold the object, directly or through another group."""
        identities = directory_of(request).identities(request.path_params["id"].lower())
        asked = [str(group).lower() for group in (await request.json()).get("groupIds", [])]
        held = [group for group in asked if group in identities]
        return JSONResponse({"@odata.context": f"{CONTEXT}#Collection(Edm.String)", "value": held})

    async def _by_ids(self, request: Request) -> Response:
        ids = [str(object_id).lower() for object_id in (await request.json()).get("ids", [])]
        return JSONResponse({"@odata.context": f"{CONTEXT}#directoryObjects", "value": objects_of(request, ids)})

    async def _assign_directory_role(self, request: Request) -> Response:
        """Give a principal a role: https://learn.microsoft.com/graph/api/rbacapplication-post-roleassignments."""
        body = await request.json()
        principal, role = str(body.get("principalId", "")).lower(), str(body.get("roleDefinitionId", ""))
        if directory_of(request).principal(principal) is None:
            raise missing(principal)
        self._entra.permissions.assign_role(principal, role)
        assignment = {"principalId": principal, "roleDefinitionId": role, "directoryScopeId": "/"}
        context = f"{CONTEXT}#roleManagement/directory/roleAssignments/$entity"
        return JSONResponse({"@odata.context": context, "id": f"{role}-{principal}", **assignment}, 201)


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
