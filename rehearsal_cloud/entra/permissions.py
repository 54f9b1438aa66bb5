"""Application permissions of Microsoft Graph: what a service principal holds, and what a request about groups takes.

Sources: https://learn.microsoft.com/graph/permissions-reference, the permissions on the page of each operation, and for
owners https://registry.terraform.io/providers/hashicorp/azuread/latest/docs/resources/group#api-permissions: what a
service principal with Group.Create owns, it changes and deletes without a further permission. A group that is created
without owners nobody but a principal with Group.ReadWrite.All changes:
https://learn.microsoft.com/graph/api/group-post-groups. An upsert takes that permission, too
(https://learn.microsoft.com/graph/api/group-upsert; its older versions named Group.Create), and deleted groups are for
who reads groups: https://learn.microsoft.com/graph/api/directory-deleteditems-list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import OPERATOR_OBJECT_ID

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.store import Store

APP_ROLES = {
    "Application.Read.All": "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30",
    "Directory.Read.All": "7ab1d382-f21e-4acd-a863-ba3e13f7da61",
    "Directory.ReadWrite.All": "19dbc75e-c2e2-444c-a770-ec69d8559fc7",
    "Group.Create": "bf7b1a76-6e77-406b-b258-bf5c7720e98f",
    "Group.Read.All": "5b567255-7703-4780-807c-7be8301ae99b",
    "Group.ReadWrite.All": "62a82d76-70ea-41e2-9197-370581804d09",
    "GroupMember.Read.All": "98830695-27a2-44f7-8c18-0c3ebc9698f6",
    "GroupMember.ReadWrite.All": "dbaae8cf-10b5-4b86-a4a1-f871c94c6695",
    "User.Read.All": "df021288-bdef-4463-88db-98f22de89214",
}
"""The permissions by name, with the IDs that they have in every tenant."""
_WRITE = {"Group.ReadWrite.All", "Directory.ReadWrite.All"}
_WRITE_MEMBERS = {*_WRITE, "GroupMember.ReadWrite.All"}
_READ_GROUPS = {*_WRITE, "Group.Read.All", "Directory.Read.All"}
_READ = {*_READ_GROUPS, "GroupMember.Read.All", "GroupMember.ReadWrite.All"}


class Permissions:
    """The app role assignments of the tenant, and who owns which group."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def assign(self, object_id: str, app_role_id: str) -> Document:
        """Grant a permission and return its assignment. Raises ServiceError (400, 409)."""
        name = next((name for name, role in APP_ROLES.items() if role == app_role_id.lower()), None)
        if name is None:
            text = "Permission being assigned was not found on application '00000003-0000-0000-c000-000000000000'."
            raise ServiceError(400, "Request_BadRequest", text)
        if name in self.of(object_id):
            raise ServiceError(400, "Request_BadRequest", "Permission being assigned already exists on the object")
        assignment = {"principalId": object_id, "appRoleId": app_role_id.lower(), "permission": name}
        self._store.put("app-role-assignments", f"{object_id}/{name}", assignment)
        return assignment

    def of(self, object_id: str) -> set[str]:
        """Return the names of the permissions that a principal holds."""
        return {kept["permission"] for kept in self._store.scan("app-role-assignments", f"{object_id}/")}

    def require(self, object_id: str, method: str, path: str) -> None:
        """Raise ServiceError (403) unless the principal may send the request; the operator may send any.

        Any principal may read what is no group, which Microsoft's pages give more permissions than the runbook needs.
        """
        if object_id == OPERATOR_OBJECT_ID:
            return
        kind, _, below = path.removeprefix("/v1.0/").partition("/")
        group, _, relation = below.partition("/")
        if kind.startswith("groups(") or group == "deletedItems":
            allowed = not self.of(object_id).isdisjoint(_WRITE if method == "PATCH" else _READ_GROUPS)
        elif kind != "groups":
            allowed = method == "GET" or path.endswith(("/getByIds", "/checkMemberGroups"))
        elif method == "POST" and not group:
            allowed = not self.of(object_id).isdisjoint({*_WRITE, "Group.Create"})
        else:
            needed = _READ if method == "GET" else _WRITE_MEMBERS if relation.startswith("members") else _WRITE
            owned = method != "GET" and object_id in self.owners(group)
            allowed = owned or not self.of(object_id).isdisjoint(needed)
        if not allowed:
            text = "Insufficient privileges to complete the operation."
            raise ServiceError(403, "Authorization_RequestDenied", text)

    def own(self, group: str, owners: list[str]) -> None:
        """Make principals the owners of a new group."""
        self._store.put("group-owners", group, {"owners": owners})

    def owners(self, group: str) -> list[str]:
        """Return the object IDs of a group's owners."""
        owners: list[str] = (self._store.get("group-owners", group.lower()) or {}).get("owners", [])
        return owners
