"""Microsoft Graph's service principals. Source: https://learn.microsoft.com/graph/api/resources/serviceprincipal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.graph_answers import (
    CONTEXT,
    SERVICE_PRINCIPAL,
    conditions_of,
    directory_of,
    existing,
    matches,
    object_body,
    objects_of,
    of_either_key,
    page,
)
from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.entra.directory import Entra, Principal
    from rehearsal_cloud.entra.graph_answers import Operation


class ServicePrincipals:
    """The service principals of the tenant: of applications, and of managed identities."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra

    def routes(self) -> list[Operation]:
        """Return method, path and handler of each operation."""
        return [
            ("GET", "/servicePrincipals", self._list),
            ("POST", "/servicePrincipals", self._create),
            *of_either_key("servicePrincipals", ("GET", "", self._get), ("PATCH", "", self._update)),
            *of_either_key("servicePrincipals", ("DELETE", "", self._delete), ("GET", "/owners", self._owners)),
        ]

    async def _list(self, request: Request) -> Response:
        condition = request.query_params.get("$filter", "")
        everyone = directory_of(request).principals("ServicePrincipal")
        if named := re.search(r"servicePrincipalNames/any\(\w+:\w+ eq '([^']*)'\)", condition):
            everyone = [principal for principal in everyone if principal.app_id == named.group(1).lower()]
        conditions = {} if named else conditions_of(request)
        bodies = (object_body(directory_of(request), principal) for principal in everyone)
        return page(request, "servicePrincipals", [body for body in bodies if matches(body, conditions)])

    async def _create(self, request: Request) -> Response:
        body = await request.json()
        app_id = str(body.get("appId", "")).lower()
        application = directory_of(request).store.get("applications", app_id)
        if application is None:
            text = f"The appId '{app_id}' of the service principal does not reference a valid application object."
            raise ServiceError(400, "Request_BadRequest", text)
        if self._entra.by_app_id(app_id) is not None:
            text = f"The service principal cannot be created: one with the appId '{app_id}' is already in use."
            raise ServiceError(409, "Request_MultipleObjectsWithSameKeyValue", text)
        principal = self._entra.add("ServicePrincipal", application["name"], app_id)
        self._entra.permissions.own(principal.object_id, [request.state.principal])
        self._change(principal, body)
        return self._entity(self._entra, principal, 201)

    async def _get(self, request: Request) -> Response:
        return self._entity(directory_of(request), existing(request, "ServicePrincipal"))

    async def _update(self, request: Request) -> Response:
        self._change(existing(request, "ServicePrincipal"), await request.json())
        return Response(None, 204)

    def _change(self, principal: Principal, body: dict[str, object]) -> None:
        kept = self._entra.store.get("service-principals", principal.object_id) or SERVICE_PRINCIPAL
        changes = {name: body[name] for name in SERVICE_PRINCIPAL if name in body}
        self._entra.store.put("service-principals", principal.object_id, {**kept, **changes})

    async def _delete(self, request: Request) -> Response:
        self._entra.remove(existing(request, "ServicePrincipal").object_id)
        return Response(None, 204)

    async def _owners(self, request: Request) -> Response:
        owners = self._entra.permissions.owners(existing(request, "ServicePrincipal").object_id)
        return page(request, "directoryObjects", objects_of(request, owners))

    def _entity(self, directory: Entra, principal: Principal, status: int = 200) -> Response:
        body = object_body(directory, principal)
        return JSONResponse({"@odata.context": f"{CONTEXT}#servicePrincipals/$entity", **body}, status)
