"""The editions of flexible servers: compute, storage and versions, as in a location's capabilities.

Sources: https://learn.microsoft.com/azure/postgresql/flexible-server/concepts-compute and .../concepts-storage
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.faults import Faults

ZONES = ("1", "2", "3")

MINOR_VERSIONS = {"14": "20", "15": "15", "16": "11", "17": "7", "18": "1"}
"""The versions that can be created, with the minor one that Azure would run."""


OFFER_RESTRICTED = "Subscriptions are restricted from provisioning in this location."
_CLOSING = ("restricted", "supportedFeatures.OfferRestricted", "supportedFeatures.Restricted")
"""What says that a location is restricted: the model of API version 2026-10-01 deprecates the first for the last, and
`az postgres flexible-server` reads the second (`postgresql/utils/_flexible_server_location_capabilities_util.py`).
"""
_STANDBY_MODES = ("SameZone", "ZoneRedundant")


@dataclass(frozen=True)
class Sku:
    """A compute size."""

    name: str
    cores: int
    memory_per_core_mb: int


@dataclass(frozen=True)
class Disk:
    """A Premium SSD: its size, its performance tier and the tier's IOPS."""

    gigabytes: int
    tier: str
    iops: int


DISKS = (
    Disk(32, "P4", 120),
    Disk(64, "P6", 240),
    Disk(128, "P10", 500),
    Disk(256, "P15", 1100),
    Disk(512, "P20", 2300),
    Disk(1024, "P30", 5000),
    Disk(2048, "P40", 7500),
    Disk(4095, "P50", 7500),
    Disk(4096, "P50", 7500),
    Disk(8192, "P60", 16000),
    Disk(16384, "P70", 18000),
    Disk(32767, "P80", 20000),
)


def _series(letter: str, cores: tuple[int, ...], suffixes: tuple[str, ...], memory_mb: int) -> tuple[Sku, ...]:
    pairs = itertools.product(suffixes, cores)
    return tuple(Sku(f"Standard_{letter}{count}{suffix}", count, memory_mb) for suffix, count in pairs)


_CORES = (2, 4, 8, 16, 32, 48, 64)
_SUFFIXES = ("s_v3", "ds_v4", "ds_v5", "ads_v5")
EDITIONS: dict[str, tuple[Sku, ...]] = {
    "Burstable": (
        Sku("Standard_B1ms", 1, 2048),
        Sku("Standard_B2s", 2, 2048),
        *_series("B", (2, 4, 8, 12, 16, 20), ("ms",), 4096),
    ),
    "GeneralPurpose": (*_series("D", _CORES, _SUFFIXES, 4096), *_series("D", (96,), ("ds_v5", "ads_v5"), 4096)),
    "MemoryOptimized": (
        *_series("E", (2, 4, 8, 16, 20, 32, 48, 64), _SUFFIXES, 8192),
        *_series("E", (96,), ("ds_v5", "ads_v5"), 7168),
    ),
}
_DEFAULT_SKUS = {
    "Burstable": "Standard_B1ms",
    "GeneralPurpose": "Standard_D2ds_v5",
    "MemoryOptimized": "Standard_E2ds_v5",
}


def disk(gigabytes: int) -> Disk | None:
    """Return the Premium SSD of exactly this size."""
    return next((candidate for candidate in DISKS if candidate.gigabytes == gigabytes), None)


def tiers_from(size: Disk) -> list[Disk]:
    """Return the performance tiers of a disk: its own and all higher tiers."""
    return list({candidate.tier: candidate for candidate in DISKS if candidate.gigabytes >= size.gigabytes}.values())


def standby_modes(faults: Faults) -> list[str]:
    """Return the high availability modes that the location offers to the subscription."""
    return [mode for mode in _STANDBY_MODES if not faults.restriction("standby", mode)]


def minor_versions(faults: Faults) -> dict[str, str]:
    """Return the versions that can be created now, with their minor ones."""
    live = MINOR_VERSIONS.items()
    return {version: minor for version, minor in live if not faults.restriction("version", f"PostgreSQL {version}")}


def closing(faults: Faults) -> list[str]:
    """Return what says that the location is restricted for the subscription: nothing where it is open."""
    return [flag for flag in _CLOSING if faults.restriction("offer", flag)]


def capabilities(faults: Faults) -> Document:
    """Return a location's capabilities; all locations have the same.

    A location that is closed for a mode of high availability leaves it out
    (https://learn.microsoft.com/azure/postgresql/overview#azure-regions); one that is restricted offers no version
    (https://github.com/hashicorp/terraform-provider-azurerm/issues/21306). That one whose answer says so in one place
    alone lists all is believed.
    """
    modes, versions, closed = standby_modes(faults), minor_versions(faults), closing(faults)
    empty = len(closed) == len(_CLOSING)
    switch = {True: "Enabled", False: "Disabled"}
    features = {
        "FastProvisioning": True,
        "GeoBackup": True,
        "IndexTuning": True,
        "OnlineResize": True,
        "StorageAutoGrowth": True,
        **{flag: f"supportedFeatures.{flag}" in closed for flag in ("OfferRestricted", "Restricted")},
        "ZoneRedundantHa": "ZoneRedundant" in modes,
    }
    return {
        "name": "FlexibleServerCapabilities",
        **({"reason": OFFER_RESTRICTED} if closed else {}),
        "supportedServerEditions": [] if empty else [_edition(*edition, modes) for edition in EDITIONS.items()],
        "supportedServerVersions": [
            {
                "name": version,
                "supportedVersionsToUpgrade": [later for later in versions if int(later) > int(version)],
                "supportedFeatures": [],
            }
            for version in ([] if empty else versions)
        ],
        "supportedFeatures": [{"name": name, "status": switch[enabled]} for name, enabled in features.items()],
        "fastProvisioningSupported": "Enabled",
        "supportedFastProvisioningEditions": [],
        "geoBackupSupported": "Enabled",
        "zoneRedundantHaSupported": switch[features["ZoneRedundantHa"]],
        "storageAutoGrowthSupported": "Enabled",
        "onlineResizeSupported": "Enabled",
        "restricted": switch["restricted" in closed],
    }


def _edition(name: str, skus: tuple[Sku, ...], modes: list[str]) -> Document:
    return {
        "name": name,
        "defaultSkuName": _DEFAULT_SKUS[name],
        "supportedStorageEditions": [
            {
                "name": "ManagedDisk",
                "defaultStorageSizeMb": DISKS[0].gigabytes * 1024,
                "supportedStorageMb": [
                    {
                        "storageSizeMb": size.gigabytes * 1024,
                        "supportedIops": size.iops,
                        "defaultIopsTier": size.tier,
                        "supportedIopsTiers": [{"name": tier.tier, "iops": tier.iops} for tier in tiers_from(size)],
                    }
                    for size in DISKS
                ],
            }
        ],
        "supportedServerSkus": [
            {
                "name": sku.name,
                "vCores": sku.cores,
                "supportedIops": sku.cores * 1600,
                "supportedMemoryPerVcoreMb": sku.memory_per_core_mb,
                "supportedZones": list(ZONES),
                "supportedHaMode": [] if name == "Burstable" else modes,
                "supportedFeatures": [],
            }
            for sku in skus
        ],
    }
