"""Microsoft Graph's delegated permission grants: what an administrator, or a user, has consented to.

Source: https://learn.microsoft.com/graph/api/resources/oauth2permissiongrant.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.graph_answers import CONTEXT, conditions_of, directory_of, matches, missing, page
from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra
    from rehearsal_cloud.entra.graph_answers import Operation

_PROPERTIES = ("clientId", "consentType", "principalId", "resourceId", "scope")


class PermissionGrants:
    """The grants of the tenant."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra

    def routes(self) -> list[Operation]:
        """Return method, path and handler of each operation."""
        return [
            ("GET", "/oauth2PermissionGrants", self._list),
            ("POST", "/oauth2PermissionGrants", self._create),
            ("PATCH", "/oauth2PermissionGrants/{id}", self._update),
            ("DELETE", "/oauth2PermissionGrants/{id}", self._delete),
        ]

    async def _list(self, request: Request) -> Response:
        kept, conditions = directory_of(request).store.scan("permission-grants"), conditions_of(request)
        return page(request, "oauth2PermissionGrants", [grant for grant in kept if matches(grant, conditions)])

    async def _create(self, request: Request) -> Response:
        body = await request.json()
        grant = {"id": uuid.uuid4().hex, **{name: body.get(name) for name in _PROPERTIES}}
        for name in ("clientId", "resourceId"):
            if directory_of(request).principal(str(grant[name])) is None:
                raise missing(str(grant[name]))
        for kept in self._entra.store.scan("permission-grants"):
            if all(kept[name] == grant[name] for name in _PROPERTIES if name != "scope"):
                raise ServiceError(409, "Request_MultipleObjectsWithSameKeyValue", "Permission entry already exists.")
        self._entra.store.put("permission-grants", str(grant["id"]), grant)
        return JSONResponse({"@odata.context": f"{CONTEXT}#oauth2PermissionGrants/$entity", **grant}, 201)

    async def _update(self, request: Request) -> Response:
        grant = self._existing(request)
        scope = (await request.json()).get("scope", grant["scope"])
        self._entra.store.put("permission-grants", grant["id"], {**grant, "scope": scope})
        return Response(None, 204)

    async def _delete(self, request: Request) -> Response:
        self._entra.store.delete("permission-grants", self._existing(request)["id"])
        return Response(None, 204)

    def _existing(self, request: Request) -> Document:
        grant = self._entra.store.get("permission-grants", request.path_params["id"])
        if grant is None:
            raise missing(request.path_params["id"])
        return grant


def admin_consent(directory: Entra, client: str) -> set[str]:
    """Return the scopes that an administrator has granted for all users to the client with this object ID."""
    grants = directory.store.scan("permission-grants")
    granted = [grant for grant in grants if (grant["clientId"], grant["consentType"]) == (client, "AllPrincipals")]
    return {scope for grant in granted for scope in str(grant["scope"]).split()}
