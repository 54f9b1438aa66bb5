"""Agent pools of managed clusters: stored as children of the cluster and also shown in its `agentPoolProfiles`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.kubernetes_versions import current_version, supported
from rehearsal_cloud.resource_manager.providers.cluster_upgrades import newest_image, upgrade_node_image
from rehearsal_cloud.resource_manager.providers.node_capacity import DEFAULT_DISK_GB, DEFAULT_SIZE, check_capacity
from rehearsal_cloud.resource_manager.providers.pool_rules import (
    check_count,
    check_drain,
    check_pool_version,
    check_priority,
    check_system_pool,
    check_taints,
    with_spot,
)
from rehearsal_cloud.resource_manager.providers.vm_sizes import family, memory_gib
from rehearsal_cloud.resource_manager.resource_ids import ResourceId
from rehearsal_cloud.resource_manager.resource_types import PENDING, Answer, Call, ResourceType, defaults, new_etag

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.clusters import Clusters
    from rehearsal_cloud.resource_manager.cloud import Cloud

BUSY = (
    "OperationNotAllowed",
    (
        "Operation is not allowed: Another operation ({operation}) is in progress, please wait for it to finish before"
        " starting a new operation. See https://aka.ms/aks-pending-operation for more details"
    ),
)
"""https://github.com/Azure/azure-workload-identity/issues/417, Azure/terraform-azurerm-avm-ptn-aks-production#25."""
_IMMUTABLE = ("vmSize", "osType", "osDiskSizeGB", "osDiskType", "maxPods", "vnetSubnetID", "type")
_READ_ONLY = ("provisioningState", "currentOrchestratorVersion", "nodeImageVersion", "eTag", "name")
_SIZE = r"Standard_[A-Z]{1,3}\d+(-\d+)?[a-z]*(_[A-Z0-9]+)*"
_SYSTEM_CORES, _SYSTEM_GIB = 2, 4
_ROLLBACKS_SINCE = "2026-04-01"


class AgentPool(ResourceType):
    """A set of nodes of the same size, of one of the running `clusters`."""

    namespace = "Microsoft.ContainerService"
    type = "managedClusters/agentPools"
    tracked = False
    busy = BUSY
    seconds: ClassVar[Mapping[str, float]] = {"create": 120, "update": 60, "delete": 120}

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    def check_name(self, name: str) -> None:
        """Do nothing: `check` validates the name, also in a cluster's body."""

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Validate the pool, its immutable properties, and that a system pool remains."""
        before = existing["properties"] if existing else None
        check_node_images(call, {call.id.name: before or {}}, [call.body.get("properties") or {}])
        location = call.cloud.location(call.id)
        pool = check(call.id.name, body.get("properties") or {}, before, location)
        check_pool_version(call.id.name, pool, _cluster_version(call))
        check_capacity(call, call.id.name, pool, before, location)
        if existing is not None:
            check_system_pool([pool, *_siblings(call.cloud, existing)])

    def validate_delete(self, call: Call, document: Document) -> None:
        """Check that a system pool remains."""
        check_system_pool(_siblings(call.cloud, document))

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Add the defaults."""
        before = (existing or {}).get("properties", {})
        return {"properties": filled(call.cloud, before, body.get("properties") or {}, _cluster_version(call))}

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Show the pool in its cluster, and make its nodes what it says."""
        del verb
        mirror(cloud, _cluster_id(document))
        if cluster := self._clusters.of(_cluster_id(document)):
            cluster.refresh()
            pool = {"name": document["name"], **document["properties"]}
            await cluster.upgrade(pool, frozenset(document["_secret"].get("reimaged", ())))

    def settle(self, cloud: Cloud, document: Document) -> None:
        """Show the pool's new state in its cluster, which has failed while one of its pools has."""
        mirror(cloud, _cluster_id(document))
        cluster = cloud.store.get("resources", _cluster_id(document).lower())
        if cluster is not None and cluster["_state"] not in PENDING:
            failed = any(pool["_state"] == "Failed" for pool in pools_of(cloud, cluster["id"]))
            cloud.keep({**cluster, "_state": "Failed" if failed else "Succeeded"})

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Drain and remove the nodes, and remove the pool from its cluster's profiles."""
        if cluster := self._clusters.of(_cluster_id(document)):
            await cluster.upgrade({"name": document["name"], **document["properties"], "count": 0})
        cloud.store.delete("resources", document["id"].lower())
        mirror(cloud, _cluster_id(document))

    def actions(self) -> Mapping[str, Callable[[Call, Document], Awaitable[Answer]]]:
        """Return the upgrade of the node image."""
        return {"upgradeNodeImageVersion": self._upgrade_node_image}

    async def _upgrade_node_image(self, call: Call, pool: Document) -> Answer:
        cluster = self._clusters.of(_cluster_id(pool))
        pool["_secret"] = {"reimaged": cluster.nodes(pool["name"]) if cluster else []}
        return await upgrade_node_image(call, pool)


def check(name: str, properties: Document, before: Document | None, location: str) -> Document:
    """Validate a pool, as a resource or in a cluster's body, and return it. Raises ServiceError."""
    for key in _IMMUTABLE if before else ():
        if properties.get(key) is not None and properties[key] != (before or {}).get(key):
            raise ServiceError(400, "PropertyChangeNotAllowed", f"Changing property 'properties.{key}' is not allowed.")
    pool = {**(before or {}), **properties}
    if not re.fullmatch(r"[a-z][a-z0-9]{0,11}", name):
        text = (
            "The value of parameter agentPoolProfile.name is invalid. Error details: Agent pool name must start with a"
            " lowercase letter, have max length of 12, and only have characters a-z0-9. Please see"
            " https://aka.ms/aks-naming-rules for more details."
        )
        raise ServiceError(400, "InvalidParameter", text)
    if not re.fullmatch(_SIZE, pool.get("vmSize") or DEFAULT_SIZE, re.IGNORECASE):
        text = (
            f"The VM size of AgentPoolProfile:{name} is not allowed in your subscription in location '{location}'. For"
            " more details, please visit https://aka.ms/aks/quotas-skus-regions"
        )
        raise ServiceError(400, "BadRequest", text)
    _check_system_size(name, pool)
    version = pool.get("orchestratorVersion")
    if version and not supported(version):
        text = (
            f"Version {version} is not supported in this region. Please use [az aks get-versions] command to get the"
            " supported version list in this region. For more information, please check"
            " https://aka.ms/supported-version-list"
        )
        raise ServiceError(400, "AgentPoolK8sVersionNotSupported", text)
    check_taints(pool)
    check_priority(properties, before)
    check_count(pool)
    check_drain(pool)
    return pool


def _check_system_size(name: str, pool: Document) -> None:
    """Refuse a system pool of one core or of less than 4 GB, in the words of the service.

    One core: https://github.com/MicrosoftDocs/azure-dev-docs/issues/216. Of the memory a user says that 2 GB were taken
    (https://github.com/MicrosoftDocs/azure-docs/issues/121181), and Microsoft that they might not be:
    https://learn.microsoft.com/azure/aks/quotas-skus-regions#restricted-vm-sizes
    """
    size = pool.get("vmSize") or DEFAULT_SIZE
    if pool.get("mode") == "System" and (family(size)[1] < _SYSTEM_CORES or memory_gib(size) < _SYSTEM_GIB):
        text = f"System node pool must use VM sku with more than 2 cores and 4GB memory. Nodepool name: {name}."
        raise ServiceError(400, "SystemPoolSkuTooLow", text)


def check_node_images(call: Call, pools: Mapping[str, Document], requested: Sequence[Document]) -> None:
    """Raise ServiceError (400) where a request sets a pool's node image to another one; `pools` are those of before.

    "Setting this value triggers an agentPool rollback. Only values from recentlyUsedVersions are allowed":
    AgentPoolProfile in managedClusters.json since 2026-04-01; before, nodeImageVersion is readOnly and ignored. Pools
    here have run one image, so that no other is recently used. The present one changes nothing: `az aks update` and
    `az aks nodepool upgrade` send it back, and the service takes it (Azure/azure-cli,
    test_aks_nodepool_rollback.yaml, recorded on 2026-06-09 with api-version 2026-07-01).
    """
    if call.method != "PUT" or call.api_version < _ROLLBACKS_SINCE:  # PATCH is for tags alone
        return
    for pool in requested:
        image = pool.get("nodeImageVersion")
        if image and image != pools.get(pool.get("name") or call.id.name, {}).get("nodeImageVersion"):
            text = (
                "The value of parameter agentPoolProfile.nodeImageVersion is invalid. Error details: only values from"
                f" recentlyUsedVersions are allowed, got {image}."
            )
            raise ServiceError(400, "InvalidParameter", text)


def filled(cloud: Cloud, before: Document, body: Document, cluster_version: str) -> Document:
    """Return a pool's properties with AKS's defaults; without a version it runs the cluster's.

    New nodes, and those of another version, have the newest image: https://learn.microsoft.com/azure/aks/node-image-upgrade
    """
    requested = {key: value for key, value in {**before, **body}.items() if key not in _READ_ONLY}
    requested["vmSize"] = requested.get("vmSize") or before.get("vmSize") or DEFAULT_SIZE
    version = requested.get("orchestratorVersion") or cluster_version
    os_type, current = requested.get("osType") or "Linux", current_version(version)
    same = current == before.get("currentOrchestratorVersion")
    properties = {
        "count": 1,
        "mode": "User",
        "type": "VirtualMachineScaleSets",
        "osType": os_type,
        "osSKU": "Ubuntu" if os_type == "Linux" else "Windows2022",
        "osDiskSizeGB": DEFAULT_DISK_GB,
        "osDiskType": "Managed",
        "kubeletDiskType": "OS",
        "maxPods": 110,
        "enableAutoScaling": False,
        "enableEncryptionAtHost": False,
        "enableFIPS": False,
        "enableNodePublicIP": False,
        "enableUltraSSD": False,
        "scaleDownMode": "Delete",
        "upgradeSettings": {"maxSurge": "10%"},
        "powerState": {"code": "Running"},
    }
    return {
        **with_spot(defaults(requested, properties)),
        "orchestratorVersion": version,
        "currentOrchestratorVersion": current,
        "nodeImageVersion": before["nodeImageVersion"] if same else newest_image(cloud, os_type),
        "eTag": new_etag().strip('"'),
    }


def pools_of(cloud: Cloud, cluster_id: str) -> list[Document]:
    """Return the pools of a cluster."""
    return cloud.resources(f"{cluster_id}/agentPools")


def keep(cloud: Cloud, cluster: Document, profile: Document) -> None:
    """Store the pool of a cluster's `agentPoolProfiles` as its child."""
    path = f"{cluster['id']}/agentPools/{profile['name']}"
    properties = {key: value for key, value in profile.items() if key not in ("name", "provisioningState")}
    kind = "Microsoft.ContainerService/managedClusters/agentPools"
    child = {"id": path, "name": profile["name"], "type": kind, "properties": properties, "_secret": {}}
    cloud.keep({**child, "_state": profile["provisioningState"]})


def mirror(cloud: Cloud, cluster_id: str) -> None:
    """Update the pools in their cluster's `agentPoolProfiles`, in the same order."""
    cluster = cloud.store.get("resources", cluster_id.lower())
    if cluster is None:
        return
    pools = {
        child["name"]: {"name": child["name"], **child["properties"], "provisioningState": child["_state"]}
        for child in pools_of(cloud, cluster_id)
    }
    names = [pool["name"] for pool in cluster["properties"]["agentPoolProfiles"]]
    order = [*(name for name in names if name in pools), *(name for name in pools if name not in names)]
    cluster["properties"]["agentPoolProfiles"] = [pools[name] for name in order]
    cloud.keep(cluster)


def _cluster_version(call: Call) -> str:
    cluster = call.cloud.store.get("resources", call.id.parent.key) if call.id.parent else None
    version: str = (cluster or {})["properties"]["currentKubernetesVersion"]
    return version


def _siblings(cloud: Cloud, document: Document) -> list[Document]:
    pools = pools_of(cloud, _cluster_id(document))
    return [pool["properties"] for pool in pools if pool["id"].lower() != document["id"].lower()]


def _cluster_id(document: Document) -> str:
    rid = ResourceId.parse(document["id"])
    assert rid is not None  # noqa: S101 - every kept document's ID is one
    assert rid.parent is not None  # noqa: S101 - a pool is a child
    return rid.parent.path
