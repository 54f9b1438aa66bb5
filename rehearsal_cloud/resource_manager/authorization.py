"""Azure RBAC: role assignments, and access decisions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import OPERATOR_OBJECT_ID, SUBSCRIPTION_ID
from rehearsal_cloud.resource_manager.built_in_roles import OWNER, Role, role_of

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra, Principal
    from rehearsal_cloud.store import Store

_ROLES = r"\[Microsoft\.Authorization/roleAssignments:RoleDefinitionId\]\s*ForAnyOfAnyValues:GuidEquals\s*\{([^}]*)\}"
_CONSTRAINED, _DELETABLE = re.compile("@Request" + _ROLES), re.compile("@Resource" + _ROLES)


_ASSIGNMENTS = "/providers/microsoft.authorization/roleassignments/"


class Authorization:
    """The role assignments, stored by scope, and the access decisions based on them."""

    def __init__(self, store: Store, entra: Entra) -> None:
        self._store = store
        self._entra = entra
        if not store.scan("assignments"):
            subscription = f"/subscriptions/{SUBSCRIPTION_ID}"
            self.put(
                subscription,
                "55555555-5555-4555-8555-555555555555",
                {
                    "roleDefinitionId": f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{OWNER}",
                    "principalId": OPERATOR_OBJECT_ID,
                    "principalType": "ServicePrincipal",
                    "scope": subscription,
                },
            )

    def put(self, scope: str, name: str, properties: Document) -> Document:
        """Store an assignment and return its document."""
        document: Document = {
            "properties": properties,
            "id": f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}",
            "type": "Microsoft.Authorization/roleAssignments",
            "name": name,
        }
        self._store.put("assignments", document["id"].lower(), document)
        return document

    def get(self, scope: str, name: str) -> Document | None:
        """Return an assignment, or None."""
        return self._store.get(
            "assignments", f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}".lower()
        )

    def delete(self, document: Document) -> None:
        """Delete an assignment."""
        self._store.delete("assignments", document["id"].lower())

    def delete_below(self, scope: str) -> None:
        """Delete every assignment at `scope` or below, as Azure does when the resource is deleted."""
        for document in self.below(scope):
            self.delete(document)

    def below(self, scope: str) -> list[Document]:
        """Return the assignments at `scope` and at all scopes below it."""
        folded = scope.lower().rstrip("/")
        assignments = self._store.scan("assignments", folded)
        return [assignment for assignment in assignments if assignment["id"].lower()[len(folded)] == "/"]

    def above(self, scope: str) -> list[Document]:
        """Return the assignments at `scope` and at its parent scopes."""
        parts = scope.lower().rstrip("/").split("/")
        scopes = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        return [assignment for each in scopes for assignment in self._store.scan("assignments", each + _ASSIGNMENTS)]

    def allows(
        self, principal: Principal, action: str, scope: str, *, data: bool = False, assigned: Role | None = None
    ) -> bool:
        """Tell whether a role of the principal or of its groups allows `action` at `scope`.

        `assigned` is the role of the assignment that is written or deleted, for conditions.
        """
        identities = self._entra.identities(principal.object_id)
        for assignment in self.above(scope):
            properties = assignment["properties"]
            role = role_of(properties["roleDefinitionId"])
            held = properties["principalId"] in identities and role is not None and role.allows(action, data=data)
            if held and _meets(properties.get("condition"), action, assigned):
                return True
        return False

    def holds_any(self, principal: Principal) -> bool:
        """Tell whether the principal has a role anywhere in the subscription, and so sees the subscription."""
        identities = self._entra.identities(principal.object_id)
        holders = {assignment["properties"]["principalId"] for assignment in self._store.scan("assignments")}
        return not holders.isdisjoint(identities)

    def require(self, principal: Principal, action: str, scope: str, assigned: Role | None = None) -> None:
        """Raise ServiceError (403 AuthorizationFailed) unless the principal may do `action` at `scope`."""
        if not self.allows(principal, action, scope, assigned=assigned):
            text = (
                f"The client '{principal.app_id}' with object id '{principal.object_id}' does not have authorization to"
                f" perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently"
                " granted, please refresh your credentials."
            )
            raise ServiceError(403, "AuthorizationFailed", text)


def _meets(condition: str | None, action: str, assigned: Role | None) -> bool:
    """Tell whether a condition that constrains roles lets the assignment's role pass; other conditions always do.

    https://learn.microsoft.com/azure/role-based-access-control/delegate-role-assignments-examples
    """
    verb = action.rpartition("/")[2].lower()
    constraint = _CONSTRAINED.search(condition or "") if verb == "write" else _DELETABLE.search(condition or "")
    if constraint is None or not action.startswith("Microsoft.Authorization/roleAssignments/"):
        return True
    return assigned is not None and assigned.id in constraint[1].lower()
