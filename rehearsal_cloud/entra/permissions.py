"""Permissions of Microsoft Graph: what a principal holds, and what a request takes.

Sources: https://learn.microsoft.com/graph/permissions-reference, the permissions on the page of each operation, and for
owners https://registry.terraform.io/providers/hashicorp/azuread/latest/docs/resources/group#api-permissions: what a
service principal with Group.Create owns, it changes and deletes without a further permission. A group that is created
without owners nobody but a principal with Group.ReadWrite.All changes:
https://learn.microsoft.com/graph/api/group-post-groups. An upsert takes that permission, too
(https://learn.microsoft.com/graph/api/group-upsert; its older versions named Group.Create), and deleted groups are for
who reads groups: https://learn.microsoft.com/graph/api/directory-deleteditems-list.

Application.ReadWrite.OwnedBy registers applications, and changes those that it owns, which are those that it made:
https://learn.microsoft.com/graph/permissions-reference#applicationreadwriteownedby. Assigning users and groups takes
AppRoleAssignment.ReadWrite.All: https://learn.microsoft.com/graph/api/serviceprincipal-post-approleassignedto.
The directory roles are those of
https://learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference#application-administrator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import OPERATOR_OBJECT_ID

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.store import Store

APP_ROLES = {
    "AppRoleAssignment.ReadWrite.All": "06b708a9-e830-4db3-a914-8e69da51d44f",
    "Application.Read.All": "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30",
    "Application.ReadWrite.All": "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9",
    "Application.ReadWrite.OwnedBy": "18a4783c-866b-4cc7-a460-3d5e5662c884",
    "DelegatedPermissionGrant.ReadWrite.All": "8e8e4742-1d95-4f68-9d56-6ee75648c72a",
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
DIRECTORY_ROLES = {
    "Application Administrator": "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3",
    "Cloud Application Administrator": "158c047a-c907-4556-b7ef-446551a6b5f7",
    "Groups Administrator": "fdd7a751-b60b-444a-984c-02652fe8fa1c",
}
"""The directory roles by name, with the IDs of their definitions, which are the same in every tenant."""
_WRITE = {"Group.ReadWrite.All", "Directory.ReadWrite.All", "Groups Administrator"}
_WRITE_MEMBERS = {*_WRITE, "GroupMember.ReadWrite.All"}
_READ_ALL = {"Directory.Read.All", "Directory.ReadWrite.All"}
_READ_GROUPS = {*_WRITE, "Group.Read.All", "Directory.Read.All"}
_READ = {*_READ_GROUPS, "GroupMember.Read.All", "GroupMember.ReadWrite.All"}
_APPLICATION_ROLES = {"Application Administrator", "Cloud Application Administrator"}
_WRITE_APPLICATIONS = {"Application.ReadWrite.All", *_APPLICATION_ROLES}
_OWN_APPLICATIONS = "Application.ReadWrite.OwnedBy"
_READ_APPLICATIONS = {*_WRITE_APPLICATIONS, _OWN_APPLICATIONS, *_READ_ALL, "Application.Read.All"}
_ASSIGN = {"AppRoleAssignment.ReadWrite.All", *_APPLICATION_ROLES}
_GRANT = {"DelegatedPermissionGrant.ReadWrite.All", "Directory.ReadWrite.All", *_APPLICATION_ROLES}


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

    def assign_role(self, object_id: str, role: str) -> None:
        """Give a principal the directory role with the ID of this definition. Raises ServiceError (400)."""
        name = next((name for name, definition in DIRECTORY_ROLES.items() if definition == role.lower()), None)
        if name is None:
            raise ServiceError(400, "Request_BadRequest", f"The role definition {role} is not in the directory.")
        self._store.put("directory-roles", f"{object_id}/{name}", {"role": name})

    def roles(self, object_id: str) -> list[str]:
        """Return the definitions' IDs of a principal's directory roles, which its tokens have as `wids`."""
        return [DIRECTORY_ROLES[kept["role"]] for kept in self._store.scan("directory-roles", f"{object_id}/")]

    def of(self, object_id: str) -> set[str]:
        """Return the names of the permissions that a principal holds."""
        return {kept["permission"] for kept in self._store.scan("app-role-assignments", f"{object_id}/")}

    def _held(self, object_id: str) -> set[str]:
        return self.of(object_id) | {kept["role"] for kept in self._store.scan("directory-roles", f"{object_id}/")}

    def require(self, object_id: str, method: str, path: str) -> None:
        """Raise ServiceError (403) unless the principal may send the request; the operator may send any.

        Any principal may read users, which Microsoft's pages give more permissions than the runbook needs.
        """
        if object_id == OPERATOR_OBJECT_ID:
            return
        kind, _, below = path.removeprefix("/v1.0/").partition("/")
        key, _, relation = below.partition("/")
        if kind.startswith("groups") or relation == "microsoft.graph.group":
            allowed = self._allows_groups(object_id, method, kind, key, relation)
        elif method == "GET":
            readers = {"applications": _READ_APPLICATIONS, "oauth2PermissionGrants": {*_GRANT, *_READ_ALL}}
            readers["servicePrincipals"] = readers["microsoft.graph.application"] = _READ_APPLICATIONS
            needed = readers.get(relation if key == "deletedItems" else kind.partition("(")[0])
            allowed = needed is None or not self._held(object_id).isdisjoint(needed)
        elif kind.startswith(("applications", "servicePrincipals")):
            if "(" in kind:  # applications(appId='…')/addPassword
                key, relation = kind.partition("='")[2].removesuffix("')"), key
            allowed = self._allows_applications(object_id, kind, key, relation)
        elif kind == "oauth2PermissionGrants":
            allowed = not self._held(object_id).isdisjoint(_GRANT)
        else:
            allowed = path.endswith(("/getByIds", "/checkMemberGroups"))
        if not allowed:
            text = "Insufficient privileges to complete the operation."
            raise ServiceError(403, "Authorization_RequestDenied", text)

    def _allows_groups(self, object_id: str, method: str, kind: str, group: str, relation: str) -> bool:
        held = self._held(object_id)
        if kind != "groups":  # groups(uniqueName='…') and directory/deletedItems
            return not held.isdisjoint(_WRITE if method == "PATCH" else _READ_GROUPS)
        if method == "POST" and not group:
            return not held.isdisjoint({*_WRITE, "Group.Create"})
        needed = _READ if method == "GET" else _WRITE_MEMBERS if relation.startswith("members") else _WRITE
        owned = method != "GET" and object_id in self.owners(group)
        return owned or not held.isdisjoint(needed)

    def _allows_applications(self, object_id: str, kind: str, key: str, relation: str) -> bool:
        held = self._held(object_id)
        if relation.startswith("appRoleAssign"):
            return not held.isdisjoint(_ASSIGN)
        creates = not key or kind.startswith("applications(uniqueName")
        owned = _OWN_APPLICATIONS in held and (creates or object_id in self.owners(self._id(key)))
        return owned or not held.isdisjoint(_WRITE_APPLICATIONS)

    def _id(self, key: str) -> str:
        """Return the object ID of the application that has this ID; of any other object, the key itself."""
        application = self._store.get("applications", key.lower()) or {}
        return str(application.get("id", key))

    def own(self, object_id: str, owners: list[str]) -> None:
        """Make principals the owners of a group, an application or a service principal."""
        self._store.put("owners", object_id, {"owners": owners})

    def owners(self, object_id: str) -> list[str]:
        """Return the object IDs of an object's owners."""
        owners: list[str] = (self._store.get("owners", object_id.lower()) or {}).get("owners", [])
        return owners
