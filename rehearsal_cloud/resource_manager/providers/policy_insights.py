"""Microsoft.PolicyInsights: what Azure Policy would make of a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.policies import restrictions
from rehearsal_cloud.resource_manager.resource_types import Answer, Call, Provider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


class PolicyInsights(Provider):
    """The check of restrictions; policies themselves are set as the rehearsal's faults are."""

    namespace = "Microsoft.PolicyInsights"

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the check."""
        return {("post", "checkpolicyrestrictions"): self._check}

    async def _check(self, call: Call) -> Answer:
        cloud, scope = call.cloud, call.id.scope
        cloud.authorization.require(call.principal, "Microsoft.PolicyInsights/checkPolicyRestrictions/read", scope)
        if "/resourcegroups/" in scope.lower() and not cloud.resource_groups.exists(scope.rpartition("/")[2]):
            name = scope.rpartition("/")[2]
            raise ServiceError(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        content = (call.body.get("resourceDetails") or {}).get("resourceContent")
        if not isinstance(content, dict) or not content.get("type"):
            raise ServiceError(400, "InvalidCheckRestrictionsRequest", "resourceContent must have the property 'type'.")
        return Answer(restrictions(cloud.faults, content))
