"""AKS's defaults of a new cluster: names, addresses, networks, and all optional properties.

https://learn.microsoft.com/rest/api/aks/managed-clusters/create-or-update
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.kubernetes_versions import current_version
from rehearsal_cloud.resource_manager.resource_groups import SUBSCRIPTION
from rehearsal_cloud.resource_manager.resource_types import find

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.resource_ids import ResourceId

_LONGEST_GROUP_NAME = 80


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
