"""Azure role assignments.

Source of the role IDs: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
"""

from __future__ import annotations

import re
import uuid
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from airflowaks.azure.arm import rest
from airflowaks.cloud.error_mapping import error_codes
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.polling import retry_on
from airflowaks.engine.resource import Facts, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflowaks.session import Session

PrincipalType = Literal["Group", "ServicePrincipal", "User"]


class Role(Enum):
    """The built-in roles that the runbook assigns."""

    ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d", "AcrPull"
    CLUSTER_USER = "4abbcc35-e782-43d8-92c5-2d3f1bd2253f", "Azure Kubernetes Service Cluster User Role"
    KEY_VAULT_SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7", "Key Vault Secrets Officer"
    KEY_VAULT_SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6", "Key Vault Secrets User"

    def __init__(self, definition: str, label: str) -> None:
        self.definition, self.label = definition, label


class RoleAssignment(Resource):
    """A role assignment; its name is a GUID derived from role, principal and scope."""

    kind = "role assignment"
    created_path = "createdOn"

    def __init__(
        self,
        role: Role,
        scope: Resource,
        holder: str,
        principal: tuple[Resource, str] | str,
        principal_type: PrincipalType,
        *,
        depends_on: Sequence[Resource] = (),
    ) -> None:
        """Take the principal as an object ID, or as a resource and the path of its fact that holds the object ID."""
        owner = (principal[0],) if isinstance(principal, tuple) else ()
        super().__init__(scope.session, f"{role.label} for {holder}", parent=scope, depends_on=(*depends_on, *owner))
        self.role = role
        self.scope = scope
        self.principal = principal
        self.principal_type = principal_type

    @property
    def principal_id(self) -> Any:
        """Return the principal's object ID, or AFTER_APPLY."""
        if isinstance(self.principal, str):
            return self.principal
        resource, path = self.principal
        return resource.fact(path)

    @property
    def assignment_name(self) -> str:
        """Return the GUID: the same for the same role, principal and scope on every machine and in every run."""
        return str(
            uuid.uuid5(uuid.NAMESPACE_URL, f"{self.scope.id.lower()} {self.role.definition} {self.principal_id}")
        )

    @property
    def id(self) -> str:
        """Return the assignment's ID, or AFTER_APPLY as text while the principal does not exist."""
        if self.principal_id is AFTER_APPLY:
            return str(AFTER_APPLY)
        return f"{self.scope.id}/providers/Microsoft.Authorization/roleAssignments/{self.assignment_name}"

    def read(self) -> Facts | None:
        """Return the assignment, whatever its name: it may have been created in the portal."""
        if self.principal_id is AFTER_APPLY:
            return None
        assignments = self.session.authorization.role_assignments.list_for_scope(
            self.scope.id,
            filter=f"principalId eq '{self.principal_id}'",
            cls=lambda page: [assignment.as_dict() for assignment in page],
        )
        for assignment in assignments:
            at_scope = str(assignment["scope"]).lower() == self.scope.id.lower()
            if at_scope and str(assignment["role_definition_id"]).lower().endswith(self.role.definition):
                return {
                    **self.desired(),
                    "principalType": assignment["principal_type"],
                    "createdOn": assignment.get("created_on"),
                }
        return None

    def desired(self) -> Facts:
        """Return the role and its principal."""
        return {"role": self.role.label, "principalId": self.principal_id, "principalType": self.principal_type}

    def write(self, facts: Facts | None) -> None:
        """Create the assignment; repeat while Entra has not replicated the principal (PrincipalNotFound)."""
        del facts
        from azure.core.exceptions import ResourceExistsError

        subscription = self.session.environment.subscription_id
        definitions = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions"
        properties = {
            "roleDefinitionId": f"{definitions}/{self.role.definition}",
            "principalId": self.principal_id,
            "principalType": self.principal_type,
        }
        parameters: Any = {"properties": properties}
        try:
            retry_on(
                lambda: self.session.authorization.role_assignments.create(
                    self.scope.id, self.assignment_name, parameters, cls=rest
                ),
                lambda error: "PrincipalNotFound" in error_codes(error),
            )
        except ResourceExistsError as error:
            # Another run created it after this one had read: the assignment exists, as desired.
            if "RoleAssignmentExists" not in error_codes(error):
                raise


def held_roles(session: Session, scope: str) -> list[Facts]:
    """Return the properties of the roles that the operator has at a scope or above it, also through groups in groups.

    Filter: https://learn.microsoft.com/azure/role-based-access-control/role-assignments-list-rest
    """
    assigned = session.authorization.role_assignments.list_for_scope(
        scope, filter=f"atScope() and assignedTo('{session.operator.object_id}')"
    )
    get: Any = session.authorization.role_definitions.get_by_id
    return [get(str(assignment.role_definition_id), cls=rest)["properties"] for assignment in assigned]


def allows(roles: Iterable[Facts], action: str) -> bool:
    """Tell whether one of the roles, whose properties these are, allows an action on Resource Manager."""
    return any(
        _matches(action, permission["actions"]) and not _matches(action, permission["notActions"])
        for role in roles
        for permission in role["permissions"]
    )


def _matches(action: str, patterns: Iterable[str]) -> bool:
    # A wildcard between slashes stands for any number of types, none included.
    return any(
        fnmatchcase(action.lower(), form)
        for pattern in patterns
        for form in (pattern.lower(), re.sub(r"/\*/", "/", pattern.lower()))
    )
