"""The node pools of the AKS cluster: what each should be, and their own operations.

Source: https://learn.microsoft.com/azure/templates/microsoft.containerservice/managedclusters/agentpools
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmChild, ArmResource

if TYPE_CHECKING:
    from airflowaks.config.schema import Cluster, NodePool
    from airflowaks.engine.resource import Facts

LONGEST_TASK_SECONDS = 3600
"""How long a worker that is to end may finish its tasks: its terminationGracePeriodSeconds."""
DRAIN_MINUTES = LONGEST_TASK_SECONDS // 60 + 30
"""How long a node waits for its pods to end, with half an hour for them to be evicted; at most 1440.

Otherwise the autoscaler waits ten minutes, and a drain 30, after which "the upgrade operation stops":
https://learn.microsoft.com/azure/aks/cluster-autoscaler,
https://learn.microsoft.com/azure/aks/upgrade-aks-node-pools-rolling#customize-node-drain-timeout
"""
_DEFAULT_DRAIN_MINUTES, _DEFAULT_SURGE = 30, "10%"
"""https://learn.microsoft.com/javascript/api/@azure/arm-containerservice/agentpoolupgradesettings"""
_MACHINE_MINUTES = 10
"""How long a node takes to be created or reimaged, beside its drain (believed)."""
SPOT_TAINT = {"key": "kubernetes.azure.com/scalesetpriority", "value": "spot", "effect": "NoSchedule"}
"""What AKS puts on each spot node: https://learn.microsoft.com/azure/aks/spot-node-pool."""
_SYSTEM_TAINT = "CriticalAddonsOnly=true:NoSchedule"


def profile(cluster: Cluster, pool: NodePool) -> dict[str, Any]:
    """Return what a pool of the environment should be, but for its version."""
    common = {
        "name": pool.name,
        "mode": "System" if pool is (cluster.system_pool or cluster.node_pool) else "User",
        "type": "VirtualMachineScaleSets",
        "osType": "Linux",
        "vmSize": pool.vm_size,
        "osDiskType": pool.os_disk,
        "osDiskSizeGB": pool.os_disk_gb,
        "enableAutoScaling": True,
        "minCount": pool.min_count,
        "maxCount": pool.max_count,
        "availabilityZones": list(pool.zones),
    }
    if pool is cluster.spot_pool:
        # Without settings of an upgrade: AKS refuses some of them (Azure/bicep#14517), and Azure waits for no task.
        spot = {"scaleSetPriority": "Spot", "scaleSetEvictionPolicy": "Delete", "spotMaxPrice": -1.0}
        return common | spot | {"nodeTaints": ["{key}={value}:{effect}".format(**SPOT_TAINT)]}
    drained = common | {"upgradeSettings": {"drainTimeoutInMinutes": DRAIN_MINUTES}}
    return drained | ({"nodeTaints": [_SYSTEM_TAINT]} if pool is cluster.system_pool else {})


def longest_upgrade_minutes(pool: Facts) -> int:
    """Return how long an upgrade of a pool may take: its nodes, then its surge nodes, drained one at a time.

    https://learn.microsoft.com/azure/aks/upgrade-aks-node-pools-rolling#overview-of-rolling-upgrade-behavior
    """
    settings, count = pool.get("upgradeSettings") or {}, int(pool.get("count") or 0)
    surge = str(settings.get("maxSurge") or _DEFAULT_SURGE)
    added = math.ceil(count * int(surge[:-1]) / 100) if surge.endswith("%") else int(surge)
    drain = settings.get("drainTimeoutInMinutes") or _DEFAULT_DRAIN_MINUTES
    soak = settings.get("nodeSoakDurationInMinutes") or 0
    return (count + added) * (int(drain) + int(soak) + _MACHINE_MINUTES)


class AgentPool(ArmChild):
    """One pool as a resource of its own: AKS adds none to an existing cluster in an update of the cluster.

    Source: https://github.com/Azure/bicep/issues/9644. The cluster's facts have the pools, so nothing converges these.
    """

    kind = "node pool"
    type = "agentPools"
    sdk = "clusters.agent_pools"

    def __init__(self, cluster: ArmResource, pool: Facts) -> None:
        super().__init__(cluster, str(pool["name"]))
        self._pool = pool

    def desired(self) -> Facts:
        """Return the pool's properties; a new one starts at its minimum size, and then the autoscaler decides."""
        properties = {key: value for key, value in self._pool.items() if key != "name"}
        return {"properties": {"count": self._pool["minCount"], **properties}}
