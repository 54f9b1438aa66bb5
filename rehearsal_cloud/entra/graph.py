"""graph.microsoft.com: groups and their members, applications and service principals.

Source: https://learn.microsoft.com/graph/api/resources/group and .../serviceprincipal. The operator may change all of
the directory (on Azure: directory roles such as Groups Administrator); `Permissions` decides for other principals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal_cloud.entra.applications import Applications
from rehearsal_cloud.entra.directory import GRAPH, Entra, Kind, Principal
from rehearsal_cloud.entra.graph_answers import CONTEXT, conditions_of, matches, missing, now, page
from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import TENANT_ID

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.store import Store

_ODATA_TYPES: dict[Kind, str] = {
    "Group": "#microsoft.graph.group",
    "ServicePrincipal": "#microsoft.graph.servicePrincipal",
    "User": "#microsoft.graph.user",
}


class Graph:
    """Microsoft Graph v1.0: groups and service principals, and with `Applications` their applications."""

    def __init__(self, entra: Entra, store: Store) -> None:
        self._entra = entra
        self._store = store
        self._applications = Applications(entra, store)

    def routes(self) -> list[Route]:
        """Return the routes; each requires a valid Graph token."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/me", self._me),
            ("GET", "/groups", self._groups),
            ("POST", "/groups", self._create_group),
            ("GET", "/groups/{id}", self._group),
            ("PATCH", "/groups/{id}", self._update_group),
            ("DELETE", "/groups/{id}", self._delete),
            ("GET", "/groups/{id}/owners", self._owners),
            ("GET", "/groups/{id}/members", self._members),
            ("POST", "/groups/{id}/members/$ref", self._add_member),
            ("DELETE", "/groups/{id}/members/{member}/$ref", self._remove_member),
            ("GET", "/servicePrincipals", self._service_principals),
            ("POST", "/servicePrincipals", self._create_service_principal),
            ("GET", "/servicePrincipals/{id}", self._service_principal),
            ("DELETE", "/servicePrincipals/{id}", self._delete),
            ("POST", "/servicePrincipals/{id}/appRoleAssignments", self._assign_app_role),
            ("GET", "/users", self._users),
            ("GET", "/users/{id}", self._user),
            *self._applications.routes(),
            ("POST", "/directoryObjects/getByIds", self._by_ids),
            ("POST", "/directoryObjects/{id}/checkMemberGroups", self._check_member_groups),
        ]
        return [Route(f"/v1.0{path}", self._signed_in(handler), methods=[method]) for method, path, handler in table]

    def _signed_in(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            try:
                principal = self._entra.verify(request.headers.get("authorization", ""), GRAPH)
                request.state.principal = principal.object_id
                self._entra.permissions.require(principal.object_id, request.method, request.url.path)
                return await handler(request)
            except ServiceError as error:
                return error.response()

        return serve

    async def _me(self, _request: Request) -> Response:
        text = "/me request is only valid with delegated authentication flow."
        raise ServiceError(400, "BadRequest", text)

    # Groups

    async def _groups(self, request: Request) -> Response:
        condition = conditions_of(request)
        bodies = map(self._group_body, self._entra.principals("Group"))
        groups = [body for body in bodies if matches(body, condition)]
        return page(request, "groups", groups)

    async def _create_group(self, request: Request) -> Response:
        body = await request.json()
        for field in ("displayName", "mailEnabled", "mailNickname", "securityEnabled"):
            if field not in body:
                text = f"A value is required for property '{field}' of resource 'Group'."
                raise ServiceError(400, "Request_BadRequest", text)
        if not re.fullmatch(r"[!-~]{1,64}", str(body["mailNickname"])):
            raise ServiceError(
                400, "Request_BadRequest", "Invalid value specified for property 'mailNickname' of resource 'Group'."
            )
        group = self._entra.add("Group", body["displayName"])
        kept = {
            key: body.get(key)
            for key in ("displayName", "description", "mailNickname", "mailEnabled", "securityEnabled")
        }
        kept["createdDateTime"] = now()
        self._store.put("groups-of-entra", group.object_id, kept)
        self._entra.permissions.own(group.object_id, [_id_of(owner) for owner in body.get("owners@odata.bind") or []])
        return JSONResponse({"@odata.context": f"{CONTEXT}#groups/$entity", **self._group_body(group)}, 201)

    async def _update_group(self, request: Request) -> Response:
        group, body = self._existing(request.path_params["id"], "Group"), await request.json()
        changes = {key: body[key] for key in ("displayName", "description", "securityEnabled") if key in body}
        self._store.put("groups-of-entra", group.object_id, {**self._group_body(group), **changes})
        return Response(None, 204)

    async def _owners(self, request: Request) -> Response:
        group = self._existing(request.path_params["id"], "Group")
        owners = [self._entra.principal(owner) for owner in self._entra.permissions.owners(group.object_id)]
        return page(request, "directoryObjects", [self._body(owner) for owner in owners if owner])

    async def _group(self, request: Request) -> Response:
        group = self._existing(request.path_params["id"], "Group")
        return JSONResponse({"@odata.context": f"{CONTEXT}#groups/$entity", **self._group_body(group)})

    async def _delete(self, request: Request) -> Response:
        kind: Kind = "Group" if "/groups/" in request.url.path else "ServicePrincipal"
        principal = self._existing(request.path_params["id"], kind)
        self._entra.remove(principal.object_id)
        self._store.delete("groups-of-entra", principal.object_id)
        return Response(None, 204)

    async def _members(self, request: Request) -> Response:
        group = self._existing(request.path_params["id"], "Group")
        members = [self._entra.principal(member) for member in self._entra.members(group.object_id)]
        return page(request, "directoryObjects", [self._body(member) for member in members if member])

    async def _add_member(self, request: Request) -> Response:
        group = self._existing(request.path_params["id"], "Group")
        member_id = _id_of(str((await request.json()).get("@odata.id", "")))
        if self._entra.principal(member_id) is None:
            raise missing(member_id)
        if member_id in self._entra.members(group.object_id):
            text = "One or more added object references already exist for the following modified properties: 'members'."
            raise ServiceError(400, "Request_BadRequest", text)
        self._entra.add_member(group.object_id, member_id)
        return Response(None, 204)

    async def _remove_member(self, request: Request) -> Response:
        group = self._existing(request.path_params["id"], "Group")
        member = request.path_params["member"].lower()
        if member not in self._entra.members(group.object_id):
            raise missing(member)
        self._entra.remove_member(group.object_id, member)
        return Response(None, 204)

    async def _check_member_groups(self, request: Request) -> Response:
        """Answer which of the groups hold the object, directly or through another group."""
        identities = self._entra.identities(request.path_params["id"].lower())
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
        everyone = self._entra.principals("ServicePrincipal")
        if named := re.search(r"servicePrincipalNames/any\(\w+:\w+ eq '([^']*)'\)", condition):
            everyone = [principal for principal in everyone if principal.app_id == named.group(1).lower()]
        bodies = [body for body in map(self._body, everyone) if matches(body, {} if named else conditions_of(request))]
        return page(request, "servicePrincipals", bodies)

    async def _service_principal(self, request: Request) -> Response:
        principal = self._existing(request.path_params["id"], "ServicePrincipal")
        return JSONResponse({"@odata.context": f"{CONTEXT}#servicePrincipals/$entity", **self._body(principal)})

    async def _create_service_principal(self, request: Request) -> Response:
        app_id = str((await request.json()).get("appId", "")).lower()
        application = self._store.get("applications", app_id)
        if application is None:
            text = f"The appId '{app_id}' of the service principal does not reference a valid application object."
            raise ServiceError(400, "Request_BadRequest", text)
        if self._entra.by_app_id(app_id) is not None:
            text = f"The service principal cannot be created: one with the appId '{app_id}' is already in use."
            raise ServiceError(409, "Request_MultipleObjectsWithSameKeyValue", text)
        principal = self._entra.add("ServicePrincipal", application["name"], app_id)
        return JSONResponse({"@odata.context": f"{CONTEXT}#servicePrincipals/$entity", **self._body(principal)}, 201)

    async def _assign_app_role(self, request: Request) -> Response:
        """Grant a permission of Microsoft Graph, the one API that has any here."""
        principal = self._existing(request.path_params["id"], "ServicePrincipal")
        assignment = self._entra.permissions.assign(principal.object_id, str((await request.json()).get("appRoleId")))
        return JSONResponse({"@odata.context": f"{CONTEXT}#appRoleAssignments/$entity", **assignment}, 201)

    async def _by_ids(self, request: Request) -> Response:
        ids = [str(object_id).lower() for object_id in (await request.json()).get("ids", [])]
        bodies = [self._body(principal) for principal in map(self._entra.principal, ids) if principal is not None]
        return JSONResponse({"@odata.context": f"{CONTEXT}#directoryObjects", "value": bodies})

    # Bodies

    def _existing(self, object_id: str, kind: Kind) -> Principal:
        principal = self._entra.principal(object_id)
        if principal is None or principal.kind != kind:
            raise missing(object_id)
        return principal

    def _body(self, principal: Principal) -> Document:
        if principal.kind == "Group":
            return {"@odata.type": _ODATA_TYPES["Group"], **self._group_body(principal)}
        return {
            "@odata.type": _ODATA_TYPES[principal.kind],
            "id": principal.object_id,
            "displayName": principal.name,
            "appId": principal.app_id,
            "appDisplayName": principal.name,
            "appOwnerOrganizationId": TENANT_ID,
            "servicePrincipalNames": [principal.app_id],
            "servicePrincipalType": "Application",
            "accountEnabled": True,
        }

    def _group_body(self, group: Principal) -> Document:
        kept: dict[str, Any] = self._store.get("groups-of-entra", group.object_id) or {"displayName": group.name}
        return {"id": group.object_id, "groupTypes": [], "visibility": None, **kept}


def _id_of(reference: str) -> str:
    return reference.rstrip("/").rpartition("/")[2].lower()
