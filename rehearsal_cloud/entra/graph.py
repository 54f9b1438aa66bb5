"""graph.microsoft.com: groups and their members, applications and service principals.

Source: https://learn.microsoft.com/graph/api/resources/group and .../serviceprincipal. The operator may change all of
the directory (on Azure: directory roles such as Groups Administrator); `Permissions` decides for other principals.
"""

from __future__ import annotations

import re
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal_cloud.entra.directory import GRAPH, Entra, Kind, Principal
from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import TENANT_ID

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.store import Store

_CONTEXT = "https://graph.microsoft.com/v1.0/$metadata"
_SKIP = "$skiptoken"
_LARGEST_TOP, _LARGEST_PAGE = 999, 100
_ODATA_TYPES: dict[Kind, str] = {
    "Group": "#microsoft.graph.group",
    "ServicePrincipal": "#microsoft.graph.servicePrincipal",
    "User": "#microsoft.graph.user",
}


class Graph:
    """Microsoft Graph v1.0: groups, applications and service principals."""

    def __init__(self, entra: Entra, store: Store) -> None:
        self._entra = entra
        self._store = store

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
            ("POST", "/applications", self._create_application),
            ("POST", "/applications/{id}/addPassword", self._add_password),
            ("POST", "/directoryObjects/getByIds", self._by_ids),
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
        condition = _filter(request)
        bodies = map(self._group_body, self._entra.principals("Group"))
        groups = [body for body in bodies if _matches(body, condition)]
        return _page(request, "groups", groups)

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
        kept["createdDateTime"] = _now()
        self._store.put("groups-of-entra", group.object_id, kept)
        self._entra.permissions.own(group.object_id, [_id_of(owner) for owner in body.get("owners@odata.bind") or []])
        return JSONResponse({"@odata.context": f"{_CONTEXT}#groups/$entity", **self._group_body(group)}, 201)

    async def _update_group(self, request: Request) -> Response:
        group, body = self._existing(request.path_params["id"], "Group"), await request.json()
        changes = {key: body[key] for key in ("displayName", "description", "securityEnabled") if key in body}
        self._store.put("groups-of-entra", group.object_id, {**self._group_body(group), **changes})
        return Response(None, 204)

    async def _owners(self, request: Request) -> Response:
        group = self._existing(request.path_params["id"], "Group")
        owners = [self._entra.principal(owner) for owner in self._entra.permissions.owners(group.object_id)]
        return _page(request, "directoryObjects", [self._body(owner) for owner in owners if owner])

    async def _group(self, request: Request) -> Response:
        group = self._existing(request.path_params["id"], "Group")
        return JSONResponse({"@odata.context": f"{_CONTEXT}#groups/$entity", **self._group_body(group)})

    async def _delete(self, request: Request) -> Response:
        kind: Kind = "Group" if "/groups/" in request.url.path else "ServicePrincipal"
        principal = self._existing(request.path_params["id"], kind)
        self._entra.remove(principal.object_id)
        self._store.delete("groups-of-entra", principal.object_id)
        return Response(None, 204)

    async def _members(self, request: Request) -> Response:
        group = self._existing(request.path_params["id"], "Group")
        members = [self._entra.principal(member) for member in self._entra.members(group.object_id)]
        return _page(request, "directoryObjects", [self._body(member) for member in members if member])

    async def _add_member(self, request: Request) -> Response:
        group = self._existing(request.path_params["id"], "Group")
        member_id = _id_of(str((await request.json()).get("@odata.id", "")))
        if self._entra.principal(member_id) is None:
            raise _missing(member_id)
        if member_id in self._entra.members(group.object_id):
            text = "One or more added object references already exist for the following modified properties: 'members'."
            raise ServiceError(400, "Request_BadRequest", text)
        self._entra.add_member(group.object_id, member_id)
        return Response(None, 204)

    async def _remove_member(self, request: Request) -> Response:
        group = self._existing(request.path_params["id"], "Group")
        member = request.path_params["member"].lower()
        if member not in self._entra.members(group.object_id):
            raise _missing(member)
        self._entra.remove_member(group.object_id, member)
        return Response(None, 204)

    # Service principals and applications

    async def _service_principals(self, request: Request) -> Response:
        condition = request.query_params.get("$filter", "")
        everyone = self._entra.principals("ServicePrincipal")
        if named := re.search(r"servicePrincipalNames/any\(\w+:\w+ eq '([^']*)'\)", condition):
            everyone = [principal for principal in everyone if principal.app_id == named.group(1).lower()]
        bodies = [body for body in map(self._body, everyone) if _matches(body, {} if named else _filter(request))]
        return _page(request, "servicePrincipals", bodies)

    async def _service_principal(self, request: Request) -> Response:
        principal = self._existing(request.path_params["id"], "ServicePrincipal")
        return JSONResponse({"@odata.context": f"{_CONTEXT}#servicePrincipals/$entity", **self._body(principal)})

    async def _create_application(self, request: Request) -> Response:
        name = str((await request.json()).get("displayName") or "")
        if not name:
            text = "A value is required for property 'displayName' of resource 'Application'."
            raise ServiceError(400, "Request_BadRequest", text)
        app_id, object_id = str(uuid.uuid4()), str(uuid.uuid4())
        self._store.put("applications", app_id, {"appId": app_id, "id": object_id, "name": name, "passwords": []})
        body = {"id": object_id, "appId": app_id, "displayName": name, "createdDateTime": _now()}
        return JSONResponse({"@odata.context": f"{_CONTEXT}#applications/$entity", **body}, 201)

    async def _add_password(self, request: Request) -> Response:
        object_id = request.path_params["id"].lower()
        application = next(
            (application for application in self._store.scan("applications") if application.get("id") == object_id),
            None,
        )
        if application is None:
            raise _missing(object_id)
        password, key_id = secrets.token_urlsafe(30), str(uuid.uuid4())
        self._entra.set_password(application["appId"], key_id, password)
        end = datetime.now(UTC) + timedelta(days=180)
        body = {
            "keyId": key_id,
            "secretText": password,
            "hint": password[:3],
            "startDateTime": _now(),
            "endDateTime": end.isoformat(),
        }
        return JSONResponse({"@odata.context": f"{_CONTEXT}#microsoft.graph.passwordCredential", **body})

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
        return JSONResponse({"@odata.context": f"{_CONTEXT}#servicePrincipals/$entity", **self._body(principal)}, 201)

    async def _assign_app_role(self, request: Request) -> Response:
        """Grant a permission of Microsoft Graph, the one API that has any here."""
        principal = self._existing(request.path_params["id"], "ServicePrincipal")
        assignment = self._entra.permissions.assign(principal.object_id, str((await request.json()).get("appRoleId")))
        return JSONResponse({"@odata.context": f"{_CONTEXT}#appRoleAssignments/$entity", **assignment}, 201)

    async def _by_ids(self, request: Request) -> Response:
        ids = [str(object_id).lower() for object_id in (await request.json()).get("ids", [])]
        bodies = [self._body(principal) for principal in map(self._entra.principal, ids) if principal is not None]
        return JSONResponse({"@odata.context": f"{_CONTEXT}#directoryObjects", "value": bodies})

    # Bodies

    def _existing(self, object_id: str, kind: Kind) -> Principal:
        principal = self._entra.principal(object_id)
        if principal is None or principal.kind != kind:
            raise _missing(object_id)
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


def _page(request: Request, context: str, items: list[Document]) -> JSONResponse:
    """Answer a page; `@odata.nextLink` leads to the next. A page may be smaller than `$top`, here 100 at most.

    https://learn.microsoft.com/graph/paging
    """
    query = request.query_params
    start, top = query.get(_SKIP, "0"), query.get("$top", str(_LARGEST_PAGE))
    if not start.isdecimal() or not top.isdecimal() or not 1 <= int(top) <= _LARGEST_TOP:
        raise ServiceError(400, "Request_BadRequest", "Invalid page size or skip token specified.")
    end = int(start) + min(int(top), _LARGEST_PAGE)
    page: Document = {"@odata.context": f"{_CONTEXT}#{context}", "value": items[int(start) : end]}
    if end < len(items):
        link = urlencode({**query, _SKIP: end})
        page["@odata.nextLink"] = f"https://graph.microsoft.com{request.url.path}?{link}"
    return JSONResponse(page)


def _filter(request: Request) -> dict[str, str]:
    condition = request.query_params.get("$filter", "")
    return dict(re.findall(r"(\w+) eq '((?:[^']|'')*)'", condition))


def _matches(body: Document, conditions: dict[str, str]) -> bool:
    return all(
        str(body.get(field, "")).lower() == value.replace("''", "'").lower() for field, value in conditions.items()
    )


def _missing(object_id: str) -> ServiceError:
    text = f"Resource '{object_id}' does not exist or one of its queried reference-property objects are not present."
    return ServiceError(404, "Request_ResourceNotFound", text)


def _id_of(reference: str) -> str:
    return reference.rstrip("/").rpartition("/")[2].lower()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
