"""AKS's rules for node pools: which are system pools, which run on spot machines, what joins them, how many nodes.

https://learn.microsoft.com/azure/aks/use-system-pools, https://learn.microsoft.com/azure/aks/spot-node-pool
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.kubernetes_versions import current_version, release_of, supported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rehearsal_cloud.documents import Document

SPOT = "Spot"
_SPOT_LABEL = {"kubernetes.azure.com/scalesetpriority": "spot"}
_SPOT_TAINT = "kubernetes.azure.com/scalesetpriority=spot:NoSchedule"
_CRITICAL, _PREFERENCE = "CriticalAddonsOnly", ":PreferNoSchedule"
_MOST_NODES = 1000
_LEAST_DRAIN_MINUTES, _MOST_DRAIN_MINUTES = 5, 1440


def check_system_pool(pools: Iterable[Document]) -> None:
    """Raise ServiceError (400) where none of the pools is a system pool."""
    if not any(pool.get("mode") == "System" for pool in pools):
        raise ServiceError(400, "MustDefineAtLeastOneSystemPool", "Must define at least one system pool.")


def check_none_added(present: Mapping[str, Document], requested: Iterable[Document]) -> None:
    """Raise ServiceError (400) where an update of a cluster has a pool that it did not have.

    https://github.com/Azure/bicep/issues/9644, https://github.com/Azure/AKS/issues/4383
    """
    if any(pool.get("name") not in present for pool in requested):
        text = (
            "A new agent pool was introduced. Adding agent pools to an existing cluster is not allowed through managed"
            " cluster operations. For agent pool specific change, please use per agent pool operations:"
            " https://aka.ms/agent-pool-rest-api."
        )
        raise ServiceError(400, "BadRequest", text)


def check_taints(pool: Document) -> None:
    """Raise ServiceError (400) for a taint that keeps AKS's own pods from a system pool: Azure/AKS#2578."""
    taints = pool.get("nodeTaints") or () if pool.get("mode") == "System" else ()
    if any(not (taint.startswith(_CRITICAL) or taint.endswith(_PREFERENCE)) for taint in taints):
        text = (
            "Operation failed due to insufficient nodes for system pod scheduling. Placing custom taints on system pool"
            " is not supported(except 'CriticalAddonsOnly' taint or taint effect is 'PreferNoSchedule'). Please refer"
            " to https://aka.ms/aks/system-taints for detail"
        )
        raise ServiceError(400, "SystemPoolHasRestrictedTaint", text)


def check_priority(properties: Document, before: Document | None) -> None:
    """Check that a pool keeps its priority, and what a spot pool may not have. Raises ServiceError (400).

    Without a priority a request asks for a regular pool: https://github.com/ansible-collections/azure/pull/2186. Surge:
    https://github.com/Azure/bicep/issues/14517. The limits are those of the page above; the other texts are believed.
    """
    priority = properties.get("scaleSetPriority") or "Regular"
    if before is not None and priority != (before.get("scaleSetPriority") or "Regular"):
        text = f"ScaleSetPriority is immutable. Provided value is {priority}, Please use current value ."
        raise ServiceError(400, "BadRequest", text)
    if priority != SPOT:
        return
    pool = {**(before or {}), **properties}
    if (pool.get("upgradeSettings") or {}).get("maxSurge"):
        details, name = "Spot pools can't set max surge.", "upgrade.maxSurge"
    elif pool.get("mode") == "System":
        details, name = "a spot pool cannot be a system pool.", "mode"
    elif before and properties.get("spotMaxPrice") not in (None, before.get("spotMaxPrice")):
        details, name = "it cannot be changed after the pool was created.", "spotMaxPrice"
    else:
        return
    text = (
        f"The value of parameter agentPoolProfile.{name} is invalid. Error details: {details} Please see"
        " https://aka.ms/aks-naming-rules for more details."
    )
    raise ServiceError(400, "InvalidParameter", text)


def with_spot(pool: Document) -> Document:
    """Return a pool with what AKS adds to one of spot machines: how they are evicted, their label and their taint.

    https://github.com/hashicorp/terraform-provider-azurerm/pull/14024
    """
    if pool.get("scaleSetPriority") != SPOT:
        return pool
    policy = {"scaleSetEvictionPolicy": "Delete", "spotMaxPrice": -1.0}
    settings = {key: value for key, value in (pool.get("upgradeSettings") or {}).items() if key != "maxSurge"}
    return {
        **policy,
        **{key: value for key, value in pool.items() if value is not None},
        "upgradeSettings": settings,
        "nodeLabels": {**(pool.get("nodeLabels") or {}), **_SPOT_LABEL},
        "nodeTaints": list(dict.fromkeys([*(pool.get("nodeTaints") or ()), _SPOT_TAINT])),
    }


def check_pool_version(name: str, pool: Document, control_plane: str) -> None:
    """Check that a pool is not ahead of the control plane. Raises ServiceError, as in rancher/rancher#33426."""
    requested = pool.get("orchestratorVersion")
    if not requested or not supported(requested):
        return
    version = current_version(requested)
    ours, theirs = (int(release_of(each).partition(".")[2]) for each in (version, control_plane))
    if ours > theirs:
        text = (
            f"Node pool version {version} and control plane version {control_plane} are incompatible. Minor version of"
            f" node pool {name} version {ours} is bigger than control plane version {theirs}. For more information,"
            " please check https://aka.ms/version-skew-policy"
        )
        raise ServiceError(400, "NodePoolMcVersionIncompatible", text)


def check_count(pool: Document) -> None:
    """Raise ServiceError (400) where a pool's number of nodes, or the range that it is scaled in, is out of bounds."""
    least = 1 if pool.get("mode") == "System" else 0
    counts = {"count": pool.get("count")}
    if pool.get("enableAutoScaling"):
        for name in ("minCount", "maxCount"):
            if pool.get(name) is None:
                text = f"Required parameter agentPoolProfile.{name} is missing (null)."
                raise ServiceError(400, "InvalidParameter", text)
            counts[name] = pool[name]
        if pool["minCount"] > pool["maxCount"]:
            text = (
                "The value of parameter agentPoolProfile.minCount is invalid. Error details: minCount must not be more"
                " than maxCount."
            )
            raise ServiceError(400, "InvalidParameter", text)
    for name, value in counts.items():
        if value is not None and not least <= value <= _MOST_NODES:
            text = (
                f"The value of parameter agentPoolProfile.{name} is invalid. Error details: it must be between {least}"
                f" and {_MOST_NODES} in a pool of mode {pool.get('mode') or 'User'}."
            )
            raise ServiceError(400, "InvalidParameter", text)


def check_drain(pool: Document) -> None:
    """Raise ServiceError (400) where a drain may take too short or too long; a pool without a limit waits 30 minutes.

    Limits: https://learn.microsoft.com/azure/aks/upgrade-aks-node-pools-rolling#customize-node-drain-timeout; the
    OpenAPI file allows less than five minutes. The text is believed.
    """
    minutes = (pool.get("upgradeSettings") or {}).get("drainTimeoutInMinutes")
    if minutes is not None and not _LEAST_DRAIN_MINUTES <= minutes <= _MOST_DRAIN_MINUTES:
        text = (
            "The value of parameter agentPoolProfile.upgradeSettings.drainTimeoutInMinutes is invalid. Error details:"
            f" it must be between {_LEAST_DRAIN_MINUTES} and {_MOST_DRAIN_MINUTES}, got {minutes}."
        )
        raise ServiceError(400, "InvalidParameter", text)
