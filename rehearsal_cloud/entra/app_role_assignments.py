"""Microsoft Graph's app role assignments: who is assigned to an application, and which permissions a principal has.

Sources: https://learn.microsoft.com/graph/api/serviceprincipal-post-approleassignedto and
https://learn.microsoft.com/graph/api/resources/approleassignment.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.graph_answers import CONTEXT, directory_of, existing, missing, now, of_either_key, page
from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra
    from rehearsal_cloud.entra.graph_answers import Operation

DEFAULT_ACCESS = "00000000-0000-0000-0000-000000000000"
"""The role of an application that declares none."""


class AppRoleAssignments:
    """The assignments of users and groups to applications; those of permissions are with `Permissions`."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra

    def routes(self) -> list[Operation]:
        """Return method, path and handler of each operation."""
        return [
            *of_either_key(
                "servicePrincipals",
                ("GET", "/appRoleAssignedTo", self._list),
                ("POST", "/appRoleAssignedTo", self._assign),
                ("DELETE", "/appRoleAssignedTo/{assignment}", self._delete),
                ("POST", "/appRoleAssignments", self._grant_permission),
            ),
            ("GET", "/groups/{id}/appRoleAssignments", self._of_principal),
            ("GET", "/users/{id}/appRoleAssignments", self._of_principal),
        ]

    async def _list(self, request: Request) -> Response:
        resource = existing(request, "ServicePrincipal").object_id
        return page(request, "appRoleAssignments", assigned_to(directory_of(request), resource))

    async def _of_principal(self, request: Request) -> Response:
        principal = request.path_params["id"].lower()
        everything = assigned_to(directory_of(request), "")
        return page(request, "appRoleAssignments", [each for each in everything if each["principalId"] == principal])

    async def _assign(self, request: Request) -> Response:
        resource, body = existing(request, "ServicePrincipal"), await request.json()
        principal = directory_of(request).principal(str(body.get("principalId", "")))
        if principal is None or self._entra.principal(principal.object_id) is None:
            raise missing(str(body.get("principalId")))
        if str(body.get("resourceId", "")).lower() != resource.object_id:
            raise ServiceError(400, "Request_BadRequest", "The resourceId is not that of the service principal.")
        role = str(body.get("appRoleId", "")).lower()
        application = self._entra.store.get("applications", resource.app_id) or {}
        declared = [kept["id"] for kept in application.get("properties", {}).get("appRoles", [])] or [DEFAULT_ACCESS]
        if role not in declared:
            text = f"Permission being assigned was not found on application '{resource.app_id}'."
            raise ServiceError(400, "Request_BadRequest", text)
        for kept in assigned_to(self._entra, resource.object_id):
            if (kept["principalId"], kept["appRoleId"]) == (principal.object_id, role):
                raise ServiceError(400, "Request_BadRequest", "Permission being assigned already exists on the object")
        assignment = {
            "id": uuid.uuid4().hex,
            "appRoleId": role,
            "createdDateTime": now(),
            "principalDisplayName": principal.name,
            "principalId": principal.object_id,
            "principalType": principal.kind,
            "resourceDisplayName": resource.name,
            "resourceId": resource.object_id,
        }
        self._entra.store.put("assigned", f"{resource.object_id}/{assignment['id']}", assignment)
        return JSONResponse({"@odata.context": f"{CONTEXT}#appRoleAssignments/$entity", **assignment}, 201)

    async def _delete(self, request: Request) -> Response:
        key = f"{existing(request, 'ServicePrincipal').object_id}/{request.path_params['assignment']}"
        if self._entra.store.get("assigned", key) is None:
            raise missing(request.path_params["assignment"])
        self._entra.store.delete("assigned", key)
        return Response(None, 204)

    async def _grant_permission(self, request: Request) -> Response:
        """Grant a permission of Microsoft Graph, the one API that has any here."""
        principal = existing(request, "ServicePrincipal")
        assignment = self._entra.permissions.assign(principal.object_id, str((await request.json()).get("appRoleId")))
        return JSONResponse({"@odata.context": f"{CONTEXT}#appRoleAssignments/$entity", **assignment}, 201)


def assigned_to(directory: Entra, resource: str) -> list[Document]:
    """Return the assignments to a service principal; to all, where `resource` is empty."""
    return directory.store.scan("assigned", f"{resource}/" if resource else "")
