"""Azure RBAC for Kubernetes: on a cluster with it, role assignments grant access in addition to Kubernetes RBAC.

https://learn.microsoft.com/azure/aks/manage-azure-rbac and https://github.com/kubeguard/guard/tree/master/authz
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.auth.rbac import Attributes, Decision, User

if TYPE_CHECKING:
    from rehearsal_cloud.kubernetes.cloud_services import CloudServices

_CLUSTER = "Microsoft.ContainerService/managedClusters"
_WRITES = {"create": "write", "patch": "write", "update": "write", "delete": "delete", "deletecollection": "delete"}
_READS = ("get", "list", "watch", "head")
_STRANGER = "Azure does not have opinion for this user."
_DENIED = "User does not have access to the resource in Azure. Update role assignment to allow access."


def authorize(cloud: CloudServices, cluster_id: str, user: User, attributes: Attributes) -> Decision:
    """Return whether a role assignment at the cluster, its namespace or above allows the request."""
    principals = [cloud.entra.principal(object_id) for object_id in user.extra.get("oid", ())]
    if not principals or principals[0] is None:
        return Decision(allowed=False, reason=_STRANGER)
    scope = f"{cluster_id}/namespaces/{attributes.namespace}" if attributes.namespace else cluster_id
    if cloud.authorization.allows(principals[0], action(attributes), scope, data=True):
        return Decision(allowed=True)
    return Decision(allowed=False, reason=_DENIED)


def action(attributes: Attributes) -> str:
    """Return the data action of a request; subresources count as their resources, but for `pods/exec`.

    Source: getResourceAndAction of guard's authz/providers/azure/rbac/checkaccessreqhelper.go.
    """
    if attributes.whole_resource == "pods/exec":
        return f"{_CLUSTER}/pods/exec/action"
    verb = "read" if attributes.verb in _READS else _WRITES.get(attributes.verb, f"{attributes.verb}/action")
    target = attributes.path.strip("/") or "/".join(part for part in (attributes.group, attributes.resource) if part)
    return f"{_CLUSTER}/{target}/{verb}"
