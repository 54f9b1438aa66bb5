"""Authorization of a cluster's requests: RBAC first, then Azure RBAC where the cluster has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.auth import azure_rbac
from rehearsal_cloud.kubernetes.auth.rbac import MASTERS, Attributes, Decision, Rbac, User

if TYPE_CHECKING:
    from rehearsal_cloud.kubernetes.state import ClusterState


class Authorizer:
    """Decides whether a user is allowed to make a request."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self.rbac = Rbac(cluster.objects)

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        """Return whether the user is allowed to do this."""
        if MASTERS in user.groups:
            return Decision(allowed=True)
        decision = self.rbac.authorize(user, attributes)
        if decision.allowed or not self.incomplete:
            return decision
        document = self._cluster.document
        azure = azure_rbac.authorize(self._cluster.cloud, document["id"], user, attributes)
        reasons = [reason for reason in (decision.reason, azure.reason) if reason]
        return azure if azure.allowed else Decision(allowed=False, reason="\n".join(reasons))

    @property
    def incomplete(self) -> bool:
        """Tell whether Azure RBAC also decides, whose rules cannot be listed."""
        profile = self._cluster.document["properties"].get("aadProfile") or {}
        return bool(profile.get("enableAzureRBAC"))
