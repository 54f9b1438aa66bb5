"""What clusters and node pools can be upgraded to, and the upgrade of a pool's node image.

https://learn.microsoft.com/rest/api/aks/managed-clusters/get-upgrade-profile and .../agent-pools/get-upgrade-profile.
The pool's profile is as the service answered it on 2026-06-09: Azure/azure-cli, test_aks_nodepool_rollback.yaml. No
version is recently used: pools here are not rolled back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.kubernetes_versions import release_of, upgrades, versions
from rehearsal_cloud.resource_manager.resource_types import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_types import Call

_IMAGE_SECONDS = 300.0
_IMAGES = {
    "Linux": ("AKSUbuntu-2204gen2containerd-", "202611.03.0"),
    "Windows": ("AKSWindows-2022-", "20348.4294.251104"),
}


def functions() -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
    """Return the reads of the region's versions, of upgrade profiles, and of the versions that a new pool may have."""
    return {
        ("get", "locations/kubernetesversions"): _kubernetes_versions,
        ("get", "managedclusters/upgradeprofiles"): _cluster_profile,
        ("get", "managedclusters/availableagentpoolversions"): _available_versions,
        ("get", "managedclusters/agentpools/upgradeprofiles"): _pool_profile,
    }


def newest_image(cloud: Cloud, os_type: str) -> str:
    """Return the newest image of the nodes: AKS publishes one a week, and here the fault `node-image` does."""
    name, release = _IMAGES[os_type]
    return name + cloud.faults.newest("node-image", release)


async def upgrade_node_image(call: Call, pool: Document) -> Answer:
    """Upgrade a pool to the newest node image; if it has it already, its nodes are only made again."""
    properties = pool["properties"]
    properties["nodeImageVersion"] = newest_image(call.cloud, properties["osType"])
    return Answer(operation_seconds=_IMAGE_SECONDS, updated=pool)


async def _kubernetes_versions(call: Call) -> Answer:
    action = "Microsoft.ContainerService/locations/kubernetesVersions/read"
    call.cloud.authorization.require(call.principal, action, call.id.scope)
    return Answer(_listing(call))


async def _cluster_profile(call: Call) -> Answer:
    cluster = _read(call)
    properties = cluster["properties"]
    pools = [
        _version(call, pool["name"], pool["currentOrchestratorVersion"], pool["osType"])
        for pool in properties["agentPoolProfiles"]
    ]
    control_plane = _version(call, "master", properties["currentKubernetesVersion"], "Linux")
    profile = {"controlPlaneProfile": control_plane, "agentPoolProfiles": pools}
    return Answer(_profile(call, "upgradeprofiles", profile))


async def _pool_profile(call: Call) -> Answer:
    properties = _read(call)["properties"]
    version = _version(call, "", properties["currentOrchestratorVersion"], properties["osType"])
    images = {"latestNodeImageVersion": newest_image(call.cloud, properties["osType"]), "recentlyUsedVersions": []}
    return Answer(_profile(call, "agentPools/upgradeProfiles", version | images))


async def _available_versions(call: Call) -> Answer:
    current = _read(call)["properties"]["currentKubernetesVersion"]
    offered = [
        {"kubernetesVersion": patch, **({"default": True} if patch == current else {}), **_preview(release)}
        for release in _listing(call)["values"]
        for patch in release["patchVersions"]
        if _number(patch) <= _number(current)
    ]
    return Answer(_profile(call, "availableAgentpoolVersions", {"agentPoolVersions": offered}))


def _listing(call: Call) -> Document:
    """Return the region's listing, without what the rehearsal was told to restrict."""
    return versions(lambda release: call.cloud.faults.restriction("version", f"Kubernetes {release}") is not None)


def _read(call: Call) -> Document:
    """Return the cluster or pool that the request is about. Raises ServiceError."""
    owner = call.id.parent
    document = call.cloud.resource(owner) if owner else None
    if owner is None or document is None:
        text = f"The Resource '{call.id.full_type}' under resource group '{call.id.group}' was not found."
        raise ServiceError(404, "ResourceNotFound", text)
    call.cloud.authorization.require(call.principal, f"{call.id.full_type}/read", owner.path)
    return document


def _profile(call: Call, kind: str, properties: Document) -> Document:
    owner = call.id.parent
    path = owner.path if owner else ""
    return {
        "id": f"{path}/{kind.rpartition('/')[2]}/default",
        "name": "default",
        "type": f"Microsoft.ContainerService/managedClusters/{kind}",
        "properties": properties,
    }


def _version(call: Call, name: str, current: str, os_type: str) -> Document:
    releases = {release["version"]: release for release in _listing(call)["values"]}
    newer = [
        {"kubernetesVersion": patch, **_preview(releases[release_of(patch)])}
        for patch in upgrades(current, lambda release: release not in releases)
    ]
    return {
        **({"name": name} if name else {}),
        "kubernetesVersion": current,
        "osType": os_type,
        **({"upgrades": newer} if newer else {}),
    }


def _preview(release: Document) -> Document:
    return {"isPreview": True} if release.get("isPreview") else {}


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
