"""Microsoft Graph's groups, their owners and members.

Source: https://learn.microsoft.com/graph/api/resources/group. Microsoft says of a deleted security group both that it
is kept for 30 days (https://learn.microsoft.com/graph/api/group-delete) and that it is not
(https://learn.microsoft.com/graph/api/directory-deleteditems-list): here it is kept, and its `uniqueName` with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.graph_answers import (
    CONTEXT,
    conditions_of,
    directory_of,
    existing,
    group_body,
    id_of,
    matches,
    missing,
    now,
    objects_of,
    page,
)
from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra

_CREATABLE = ("displayName", "description", "mailNickname", "mailEnabled", "securityEnabled")
_UPDATABLE = ("displayName", "description", "securityEnabled")


class Groups:
    """The groups of the tenant. A request reads from a replica; what must be unique is so in the primary."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra

    def routes(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Return method, path and handler of each operation."""
        return [
            ("GET", "/groups", self._list),
            ("POST", "/groups", self._create),
            ("PATCH", "/groups(uniqueName='{unique_name}')", self._upsert),
            ("GET", "/groups/{id}", self._get),
            ("PATCH", "/groups/{id}", self._update),
            ("DELETE", "/groups/{id}", self._delete),
            ("GET", "/groups/{id}/owners", self._owners),
            ("GET", "/groups/{id}/members", self._members),
            ("POST", "/groups/{id}/members/$ref", self._add_member),
            ("DELETE", "/groups/{id}/members/{member}/$ref", self._remove_member),
            ("GET", "/directory/deletedItems/microsoft.graph.group", self._deleted),
        ]

    async def _list(self, request: Request) -> Response:
        directory = directory_of(request)
        bodies = (group_body(directory, group.object_id) for group in directory.principals("Group"))
        return _page(request, list(bodies))

    async def _create(self, request: Request) -> Response:
        return self._made(await request.json())

    def _made(self, body: Document, **key: str) -> Response:
        for field in ("displayName", "mailEnabled", "mailNickname", "securityEnabled"):
            if field not in body:
                text = f"A value is required for property '{field}' of resource 'Group'."
                raise ServiceError(400, "Request_BadRequest", text)
        if not re.fullmatch(r"[!-~]{1,64}", str(body["mailNickname"])):
            raise ServiceError(
                400, "Request_BadRequest", "Invalid value specified for property 'mailNickname' of resource 'Group'."
            )
        group = self._entra.add("Group", body["displayName"]).object_id
        kept = {**{name: body.get(name) for name in _CREATABLE}, **key, "createdDateTime": now()}
        self._entra.store.put("groups-of-entra", group, kept)
        self._entra.permissions.own(group, _bound(body))
        return JSONResponse({"@odata.context": f"{CONTEXT}#groups/$entity", **group_body(self._entra, group)}, 201)

    async def _upsert(self, request: Request) -> Response:
        """Update the group with this key, or with `Prefer: create-if-missing` create it (201).

        https://learn.microsoft.com/graph/api/group-upsert. A key that the replica does not find and that the primary
        has, also one of a deleted group, cannot be given again:
        https://learn.microsoft.com/graph/templates/known-issues-graph-bicep.
        """
        key, body = request.path_params["unique_name"], await request.json()
        directory = directory_of(request)
        for group in directory.principals("Group"):
            named = group_body(directory, group.object_id).get("uniqueName") == key
            if named and self._entra.principal(group.object_id):
                return self._changed(group.object_id, body)
        if "create-if-missing" not in request.headers.get("prefer", ""):
            raise missing(key)
        groups = [*self._entra.store.scan("groups-of-entra"), *self._entra.store.scan("deleted-groups")]
        if any(group.get("uniqueName") == key for group in groups):
            text = "Another object with the same value for property uniqueName already exists."
            raise ServiceError(400, "Request_BadRequest", text)
        return self._made(body, uniqueName=key)

    async def _update(self, request: Request) -> Response:
        return self._changed(self._existing(request), await request.json())

    def _existing(self, request: Request) -> str:
        """Return the ID of a group that both the replica and the primary, which a write goes to, have."""
        group = existing(request, "Group").object_id
        if self._entra.principal(group) is None:
            raise missing(group)
        return group

    def _changed(self, group: str, body: Document) -> Response:
        owners, added = self._entra.permissions.owners(group), _bound(body)
        if set(owners) & set(added):
            raise _already("owners")
        self._entra.permissions.own(group, [*owners, *added])
        changes = {name: body[name] for name in _UPDATABLE if name in body}
        self._entra.store.put("groups-of-entra", group, {**group_body(self._entra, group), **changes})
        return Response(None, 204)

    async def _get(self, request: Request) -> Response:
        body = group_body(directory_of(request), existing(request, "Group").object_id)
        return JSONResponse({"@odata.context": f"{CONTEXT}#groups/$entity", **body})

    async def _delete(self, request: Request) -> Response:
        group = self._existing(request)
        body = group_body(self._entra, group) | {"deletedDateTime": now()}
        self._entra.remove(group)
        self._entra.store.delete("groups-of-entra", group)
        self._entra.store.put("deleted-groups", group, body)
        return Response(None, 204)

    async def _deleted(self, request: Request) -> Response:
        return _page(request, directory_of(request).store.scan("deleted-groups"))

    async def _owners(self, request: Request) -> Response:
        owners = self._entra.permissions.owners(existing(request, "Group").object_id)
        return page(request, "directoryObjects", objects_of(request, owners))

    async def _members(self, request: Request) -> Response:
        members = directory_of(request).members(existing(request, "Group").object_id)
        return page(request, "directoryObjects", objects_of(request, members))

    async def _add_member(self, request: Request) -> Response:
        group = self._existing(request)
        member = id_of(str((await request.json()).get("@odata.id", "")))
        if directory_of(request).principal(member) is None:
            raise missing(member)
        if member in self._entra.members(group):
            raise _already("members")
        self._entra.add_member(group, member)
        return Response(None, 204)

    async def _remove_member(self, request: Request) -> Response:
        group = self._existing(request)
        member = request.path_params["member"].lower()
        if member not in self._entra.members(group):
            raise missing(member)
        self._entra.remove_member(group, member)
        return Response(None, 204)


def _page(request: Request, groups: list[Document]) -> Response:
    """Answer the groups that the filter is for; of `uniqueName` only one that `$select` names."""
    conditions = conditions_of(request)
    selected = request.query_params.get("$select", "").split(",")
    bodies: list[dict[str, Any]] = [dict(group) for group in groups if matches(group, conditions)]
    for body in bodies:
        if "uniqueName" not in selected:
            body.pop("uniqueName", None)
    return page(request, "groups", bodies)


def _bound(body: Document) -> list[str]:
    return [id_of(owner) for owner in body.get("owners@odata.bind") or []]


def _already(relation: str) -> ServiceError:
    text = f"One or more added object references already exist for the following modified properties: '{relation}'."
    return ServiceError(400, "Request_BadRequest", text)
