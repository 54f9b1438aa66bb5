"""Machine sizes: their families, cores and disks, as Compute lists them, and how much of a family's quota is used.

Names: https://learn.microsoft.com/azure/virtual-machines/vm-naming-conventions. Shape of the listing: ResourceSku in
https://github.com/Azure/azure-rest-api-specs/blob/main/specification/compute/resource-manager/Microsoft.Compute/Skus
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.resource_types import find

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

ZONES = ("1", "2", "3")
TOTAL, SPOT_TOTAL = "cores", "lowPriorityCores"
"""The region's quotas: spot machines have one of their own, https://learn.microsoft.com/azure/quotas/spot-quota."""
_SIZE = re.compile(r"standard_([a-z]+)(\d+)(?:-\d+)?([a-z]*)(?:_(.+))?", re.IGNORECASE)
_LIMIT = 1000
_CORES = (2, 4, 8, 16, 32, 48, 64)
_SERIES = {
    "D": ("s_v3", "s_v4", "ds_v4", "s_v5", "ds_v5", "as_v5", "ads_v5", "s_v6", "ds_v6"),
    "E": ("s_v3", "s_v5", "ds_v5", "as_v5", "ads_v5", "ds_v6"),
    "F": ("s_v2",),
}
_BURSTABLE = ("Standard_B2ts_v2", "Standard_B2s", "Standard_B2ms", "Standard_B4ms", "Standard_B8ms")
_SIZES = (
    *_BURSTABLE,
    *(f"Standard_{series}{cores}{rest}" for series, all_ in _SERIES.items() for rest in all_ for cores in _CORES),
)
_GIB_PER_CORE = {"D": 4, "E": 8, "F": 2, "B": 4}
# https://learn.microsoft.com/azure/virtual-machines/sizes/general-purpose/bsv2-series
_TINY_GIB = {"standard_b2ts_v2": 1}
# Of the v5 series: https://learn.microsoft.com/azure/virtual-machines/sizes/general-purpose/ddsv5-series
_TEMPORARY_MB_PER_CORE = 38_400


def family(size: str) -> tuple[str, int]:
    """Return the name and the cores of a size's family."""
    match = _SIZE.fullmatch(size)
    if match is None:
        return "otherFamily", 0
    letters, cores, features, version = match.groups(default="")
    return f"standard{letters.upper()}{features.upper()}{version}Family", int(cores)


def listing(cloud: Cloud, location: str) -> list[Document]:
    """Return the sizes of a location with this subscription's restrictions, as `Microsoft.Compute/skus` lists them."""
    return [_sku(cloud, size, location) for size in _SIZES]


def memory_gib(size: str) -> int:
    """Return the memory of a size; of a series that is not listed here, as much as one of the series D has."""
    tiny = _TINY_GIB.get(size.lower())
    return tiny or family(size)[1] * _GIB_PER_CORE.get(size.removeprefix("Standard_")[:1], _GIB_PER_CORE["D"])


def temporary_megabytes(size: str) -> int:
    """Return the size of the local disk; only sizes with a d among their features have one here."""
    match = _SIZE.fullmatch(size)
    return int(match[2]) * _TEMPORARY_MB_PER_CORE if match and "d" in match[3] else 0


def restricted_zones(cloud: Cloud, size: str) -> tuple[str, ...]:
    """Return the zones where the subscription may not have the size; all of them where it may not have it at all."""
    restriction = cloud.faults.restriction("size", size)
    return () if restriction is None else tuple(restriction.zones) or ZONES


def quotas_of(size: str, priority: str | None) -> tuple[str, ...]:
    """Return the names of the quotas that machines of a size and a priority count towards."""
    return (SPOT_TOTAL,) if priority == "Spot" else (family(size)[0], TOTAL)


def usages(cloud: Cloud, scope: str, location: str) -> dict[str, tuple[int, int]]:
    """Return the cores that node pools use and the limit, by family and in total."""
    used: Counter[str] = Counter()
    for cluster in cloud.top_resources(scope):
        if find(cluster, "location") != location:
            continue
        for pool in find(cluster, "properties.agentPoolProfiles") or ():
            for name in quotas_of(pool["vmSize"], pool.get("scaleSetPriority")):
                used[name] += family(pool["vmSize"])[1] * pool["count"]
    names = dict.fromkeys((TOTAL, SPOT_TOTAL, *(family(size)[0] for size in _SIZES), *used))
    return {name: (used[name], _limit(cloud, name)) for name in names}


def _limit(cloud: Cloud, name: str) -> int:
    restriction = cloud.faults.restriction("quota", name)
    return _LIMIT if restriction is None else restriction.limit


def _sku(cloud: Cloud, size: str, location: str) -> Document:
    name, cores = family(size)
    zones = restricted_zones(cloud, size)
    capabilities = {
        "vCPUs": cores,
        "MemoryGB": memory_gib(size),
        "MaxResourceVolumeMB": temporary_megabytes(size),
        "EphemeralOSDiskSupported": temporary_megabytes(size) > 0,
    }
    where = "Location" if zones == ZONES else "Zone"
    return {
        "resourceType": "virtualMachines",
        "name": size,
        "tier": "Standard",
        "size": size.removeprefix("Standard_"),
        "family": name,
        "locations": [location],
        "locationInfo": [{"location": location, "zones": list(ZONES), "zoneDetails": []}],
        "capabilities": [{"name": key, "value": str(value)} for key, value in capabilities.items()],
        "restrictions": [
            {
                "type": where,
                "values": [location],
                "restrictionInfo": {"locations": [location], **({"zones": list(zones)} if where == "Zone" else {})},
                "reasonCode": "NotAvailableForSubscription",
            }
        ]
        if zones
        else [],
    }
