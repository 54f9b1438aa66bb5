"""What the subscription may have of nodes: sizes, zones, cores and local disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.providers.vm_sizes import (
    ZONES,
    family,
    quotas_of,
    restricted_zones,
    temporary_megabytes,
    usages,
)
from rehearsal_cloud.resource_manager.resource_groups import SUBSCRIPTION

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.resource_types import Call

# AKS picks a size by quota where a request has none, as `az aks create` sends it: "dynamically selected",
# https://learn.microsoft.com/cli/azure/aks#az-aks-create. Quotas here have room for any, so it is always this one.
DEFAULT_SIZE = "Standard_D4ds_v5"
DEFAULT_DISK_GB = 128


def check_capacity(call: Call, name: str, pool: Document, before: Document | None, location: str) -> None:
    """Raise ServiceError (400) where the subscription has no such size, not in these zones, or no quota for the nodes.

    Codes and texts are users' reports: https://github.com/dotnet/core/issues/8181, "The zone(s) '3' for resource
    'system' is not supported", and "Insufficient vcpu quota requested 2, remaining 0 for family … for region …".
    """
    size = pool.get("vmSize") or DEFAULT_SIZE
    restricted, zones = restricted_zones(call.cloud, size), pool.get("availabilityZones") or []
    if before is None and restricted == ZONES:
        text = (
            f"The VM size of {size} is not allowed in your subscription in location '{location}'. For more details,"
            " please visit https://aka.ms/aks/quotas-skus-regions"
        )
        raise ServiceError(400, "BadRequest", text)
    if before is None and (refused := [zone for zone in zones if zone in restricted]):
        supported_zones = ",".join(zone for zone in ZONES if zone not in restricted)
        text = (
            f"Preflight validation check for resource(s) for container service {call.id.names[0]} in resource group"
            f" {call.id.group} failed. Message: The zone(s) '{','.join(refused)}' for resource '{name}' is not"
            f" supported. The supported zones for location '{location}' are '{supported_zones}'. Details: "
        )
        raise ServiceError(400, "AvailabilityZoneNotSupported", text)
    if before is None and pool.get("osDiskType") == "Ephemeral":
        _check_local_disk(size, pool.get("osDiskSizeGB") or DEFAULT_DISK_GB)
    requested = family(size)[1] * ((pool.get("count") or 1) - (before or {}).get("count", 0))
    quotas = usages(call.cloud, SUBSCRIPTION, location) if requested > 0 else {}
    for quota in quotas_of(size, pool.get("scaleSetPriority")):
        used, limit = quotas.get(quota, (0, requested))
        if requested > limit - used:
            text = (
                f"Insufficient vcpu quota requested {requested}, remaining {limit - used} for family {quota}"
                f" for region {location}. Surge nodes would also consume vcpu quota. Increase the quota or use"
                " different available SKU in your subscription"
            )
            raise ServiceError(400, "ErrCode_InsufficientVCPUQuota", text)


def _check_local_disk(size: str, gigabytes: int) -> None:
    """Raise ServiceError (400) where the operating system does not fit on the size's local disk (texts believed)."""
    megabytes = temporary_megabytes(size)
    if not megabytes:
        text = f"The virtual machine size {size} does not support Ephemeral OS disk."
        raise ServiceError(400, "VMSizeDoesNotSupportEphemeralOS", text)
    if megabytes < gigabytes * 1024:
        text = (
            f"The Virtual Machine size {size} has a temp disk size of {megabytes * 1024**2} bytes, but the OS disk"
            f" requires {gigabytes * 1024**3} bytes. Use a VM size with larger temp disk or disable ephemeral OS."
        )
        raise ServiceError(400, "VMTemporaryDiskTooSmall", text)
