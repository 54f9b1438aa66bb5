"""AKS's defaults of a new cluster: names, addresses, networks, and all optional properties.

https://learn.microsoft.com/rest/api/aks/managed-clusters/create-or-update
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.kubernetes_versions import current_version
from rehearsal_cloud.resource_manager.resource_groups import SUBSCRIPTION
from rehearsal_cloud.resource_manager.resource_types import defaults, find

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.resource_ids import ResourceId

_LONGEST_GROUP_NAME = 80
_AUTOSCALER = {
    "balance-similar-node-groups": "false",
    "expander": "random",
    "max-empty-bulk-delete": "10",
    "max-graceful-termination-sec": "600",
    "max-node-provision-time": "15m",
    "max-total-unready-percentage": "45",
    "new-pod-scale-up-delay": "0s",
    "ok-total-unready-count": "3",
    "scale-down-delay-after-add": "10m",
    "scale-down-delay-after-delete": "10s",
    "scale-down-delay-after-failure": "3m",
    "scale-down-unneeded-time": "10m",
    "scale-down-unready-time": "20m",
    "scale-down-utilization-threshold": "0.5",
    "scan-interval": "10s",
    "skip-nodes-with-local-storage": "false",
    "skip-nodes-with-system-pods": "true",
}


def cluster_defaults(rid: ResourceId, location: str, requested: Document) -> Document:
    """Return the properties of a new cluster: `requested` with AKS's defaults."""
    prefix = requested.get("dnsPrefix") or requested["fqdnSubdomain"]
    mark = hashlib.sha256(rid.key.encode()).hexdigest()[:8]
    group = requested.get("nodeResourceGroup") or f"MC_{rid.group}_{rid.name}_{location}"[:_LONGEST_GROUP_NAME]
    return {
        "powerState": {"code": "Running"},
        "kubernetesVersion": current_version(None),
        "fqdn": f"{prefix}-{mark}.hcp.{location}.azmk8s.io",
        "azurePortalFQDN": f"{prefix}-{mark}.portal.hcp.{location}.azmk8s.io",
        "resourceUID": uuid.uuid4().hex[:24],
        "servicePrincipalProfile": {"clientId": "msi"},
        "nodeResourceGroup": group,
        "enableRBAC": True,
        "supportPlan": "KubernetesOfficial",
        "windowsProfile": {"adminUsername": "azureuser", "enableCSIProxy": True},
        "maxAgentPools": 100,
        "disableLocalAccounts": False,
        "securityProfile": {},
        "storageProfile": {
            "diskCSIDriver": {"enabled": True},
            "fileCSIDriver": {"enabled": True},
            "snapshotController": {"enabled": True},
        },
        "networkProfile": _network(requested.get("networkProfile") or {}, group),
    }


def autoscaler_profile(requested: Document | None, pools: Iterable[Document]) -> Document | None:
    """Return the autoscaler's settings: a cluster shows them all as soon as one of its pools scales.

    Source: a cluster's JSON in the tests of PaladinCloud/CE (KubernetesAddOnEnabledRuleTest.java); the 600 seconds for
    pods to end are documented: https://learn.microsoft.com/azure/aks/cluster-autoscaler.
    """
    if any(pool.get("enableAutoScaling") for pool in pools):
        return defaults(requested, _AUTOSCALER)
    return requested


def _network(requested: Document, group: str) -> Document:
    plugin = requested.get("networkPlugin") or "azure"
    mode = requested.get("networkPluginMode") or ("overlay" if "networkPlugin" not in requested else None)
    network: Document = {
        "networkPlugin": plugin,
        "networkPolicy": "none",
        "networkDataplane": "azure",
        "loadBalancerSku": "standard",
        "outboundType": "loadBalancer",
        "serviceCidr": "10.0.0.0/16",
        "serviceCidrs": [requested.get("serviceCidr") or "10.0.0.0/16"],
        "dnsServiceIP": "10.0.0.10",
        "ipFamilies": ["IPv4"],
    }
    if mode:
        network["networkPluginMode"] = mode
    if mode == "overlay" or plugin == "kubenet":
        cidr = requested.get("podCidr") or "10.244.0.0/16"
        network |= {"podCidr": cidr, "podCidrs": [cidr]}
    if (requested.get("outboundType") or "loadBalancer") == "loadBalancer":
        count = find(requested, "loadBalancerProfile.managedOutboundIPs.count") or 1
        addresses = f"{group}/providers/Microsoft.Network/publicIPAddresses"
        network["loadBalancerProfile"] = {
            "managedOutboundIPs": {"count": count},
            "effectiveOutboundIPs": [
                {"id": f"{SUBSCRIPTION}/resourceGroups/{addresses}/{uuid.uuid4()}"} for _ in range(count)
            ],
            "allocatedOutboundPorts": 0,
            "idleTimeoutInMinutes": 30,
            "backendPoolType": "nodeIPConfiguration",
        }
    return network
