"""Microsoft.Authorization: role definitions and role assignments, at any scope."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError, not_found
from rehearsal_cloud.home import SUBSCRIPTION_ID
from rehearsal_cloud.resource_manager.built_in_roles import ROLES, Role, role_of
from rehearsal_cloud.resource_manager.providers import management_locks
from rehearsal_cloud.resource_manager.resource_ids import ResourceId, canonical_scope
from rehearsal_cloud.resource_manager.resource_types import Answer, Call, Provider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document


class Roles(Provider):
    """Role definitions are built in; assignments are created, read, listed and deleted at their scope."""

    namespace = "Microsoft.Authorization"

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the operations: role assignments do not have an ordinary resource's life cycle."""
        return {
            ("get", "roledefinitions"): self._definitions,
            ("get", "roleassignments"): self._read,
            ("put", "roleassignments"): self._assign,
            ("delete", "roleassignments"): self._remove,
            **management_locks.functions(),
        }

    async def _definitions(self, call: Call) -> Answer:
        if call.id.is_instance:
            role = role_of(call.id.name)
            if role is None:
                text = f"The specified role definition with ID '{call.id.name}' does not exist."
                raise ServiceError(404, "RoleDefinitionDoesNotExist", text)
            return Answer(_definition(role))
        role_name = re.search(r"roleName eq '([^']*)'", call.query.get("$filter", ""))
        name = role_name.group(1).lower() if role_name else None
        return Answer({"value": [_definition(role) for role in ROLES if name in (None, role.name.lower())]})

    async def _read(self, call: Call) -> Answer:
        scope = canonical_scope(call.id.scope)
        call.cloud.authorization.require(call.principal, "Microsoft.Authorization/roleAssignments/read", scope)
        if call.id.is_instance:
            return Answer(self._existing(call))
        condition = call.query.get("$filter", "")
        at_scope = call.cloud.authorization.above(scope)
        assignments = at_scope if "atScope()" in condition else [*at_scope, *call.cloud.authorization.below(scope)]
        unique = list({assignment["id"]: assignment for assignment in assignments}.values())
        if principal_filter := re.search(r"(principalId eq|assignedTo\()\s*'([^']*)'", condition):
            ids = {principal_filter.group(2).lower()}
            if principal_filter.group(1) == "assignedTo(":
                ids = call.cloud.entra.identities(principal_filter.group(2).lower())
            unique = [assignment for assignment in unique if assignment["properties"]["principalId"] in ids]
        return Answer({"value": unique})

    async def _assign(self, call: Call) -> Answer:
        cloud, scope = call.cloud, canonical_scope(call.id.scope)
        requested = call.body.get("properties") or {}
        role = role_of(str(requested.get("roleDefinitionId", "")))
        cloud.authorization.require(call.principal, "Microsoft.Authorization/roleAssignments/write", scope, role)
        _check_scope(call, scope)
        try:
            uuid.UUID(call.id.name)
        except ValueError:
            text = f"The role assignment ID '{call.id.name}' is not valid. The role assignment ID must be a GUID."
            raise ServiceError(400, "InvalidRoleAssignmentId", text) from None
        if role is None:
            text = f"The specified role definition with ID '{requested.get('roleDefinitionId', '')}' does not exist."
            raise ServiceError(400, "RoleDefinitionDoesNotExist", text)
        principal_id = str(requested.get("principalId", "")).lower()
        principal = cloud.entra.replicated(principal_id)
        if principal is None:
            text = (
                f"Principal {principal_id.replace('-', '')} does not exist in the directory. Check that you have the"
                " correct principal ID. If you are creating this principal and then immediately assigning a role,"
                " this error might be related to a replication delay. In this case, set the role assignment"
                " principalType property to a value, such as ServicePrincipal, User, or Group. See"
                " https://aka.ms/docs-principaltype"
            )
            raise ServiceError(400, "PrincipalNotFound", text)
        if requested.get("principalType", principal.kind) != principal.kind:
            text = (
                f"The PrincipalId '{principal_id}' has type '{principal.kind}', which is different from specified"
                f" PrincipalType '{requested['principalType']}'."
            )
            raise ServiceError(400, "UnmatchedPrincipalType", text)
        return self._keep(call, scope, role, requested, principal.kind)

    def _keep(self, call: Call, scope: str, role: Role, requested: Document, principal_type: str) -> Answer:
        authorization, principal_id = call.cloud.authorization, str(requested["principalId"]).lower()
        existing = authorization.get(scope, call.id.name)
        if existing is not None and (
            existing["properties"]["principalId"] != principal_id
            or role_of(existing["properties"]["roleDefinitionId"]) != role
        ):
            text = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
            raise ServiceError(400, "RoleAssignmentUpdateNotPermitted", text)
        for assignment in authorization.above(scope):
            properties = assignment["properties"]
            duplicate = properties["principalId"] == principal_id and role_of(properties["roleDefinitionId"]) == role
            if existing is None and duplicate and properties["scope"].lower() == scope.lower():
                text = (
                    "The role assignment already exists. The ID of the conflicting role assignment is"
                    f" {assignment['name'].replace('-', '')}."
                )
                raise ServiceError(409, "RoleAssignmentExists", text)
        now = datetime.now(UTC).isoformat()
        before = (existing or {}).get("properties", {})
        document = authorization.put(
            scope,
            call.id.name,
            {
                "roleDefinitionId": _definition_id(role),
                "principalId": principal_id,
                "principalType": principal_type,
                "scope": scope,
                "condition": requested.get("condition"),
                "conditionVersion": requested.get("conditionVersion"),
                "createdOn": before.get("createdOn", now),
                "updatedOn": now,
                "createdBy": before.get("createdBy", call.principal.object_id),
                "updatedBy": call.principal.object_id,
                "delegatedManagedIdentityResourceId": requested.get("delegatedManagedIdentityResourceId"),
                "description": requested.get("description"),
            },
        )
        return Answer(document, 201 if existing is None else 200)

    async def _remove(self, call: Call) -> Answer:
        scope = canonical_scope(call.id.scope)
        existing = call.cloud.authorization.get(scope, call.id.name)
        role = role_of(existing["properties"]["roleDefinitionId"]) if existing else None
        call.cloud.authorization.require(call.principal, "Microsoft.Authorization/roleAssignments/delete", scope, role)
        if existing is None:
            return Answer(status=204)
        call.cloud.locks.check(existing["id"], "delete")
        call.cloud.authorization.delete(existing)
        return Answer(existing)

    @staticmethod
    def _existing(call: Call) -> Document:
        assignment = call.cloud.authorization.get(canonical_scope(call.id.scope), call.id.name)
        if assignment is None:
            text = f"The role assignment '{call.id.name}' is not found."
            raise ServiceError(404, "RoleAssignmentNotFound", text)
        return assignment


def _definition_id(role: Role) -> str:
    return f"/subscriptions/{SUBSCRIPTION_ID}/providers/Microsoft.Authorization/roleDefinitions/{role.id}"


def _definition(role: Role) -> Document:
    return {
        "id": _definition_id(role),
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [
                {
                    "actions": list(role.actions),
                    "notActions": list(role.not_actions),
                    "dataActions": list(role.data_actions),
                    "notDataActions": list(role.not_data_actions),
                }
            ],
        },
    }


def _check_scope(call: Call, scope: str) -> None:
    groups = call.cloud.resource_groups
    target = ResourceId.parse(scope)
    if target is not None:
        if call.cloud.resource(target) is None:
            text = (
                f"The Resource '{target.full_type}/{target.name}' under resource group '{target.group}' was not found."
                " For more details please go to https://aka.ms/ARMResourceNotFoundFix"
            )
            raise ServiceError(404, "ResourceNotFound", text)
    elif "/resourcegroups/" in scope.lower():
        name = scope.rpartition("/")[2]
        if not groups.exists(name):
            raise ServiceError(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
    elif not re.fullmatch(r"/subscriptions/[^/]+", scope):
        raise not_found(scope)
