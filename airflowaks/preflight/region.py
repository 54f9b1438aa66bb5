"""What the region and the subscription offer: services, machines and their quota, versions, PostgreSQL, networks."""

from __future__ import annotations

from ipaddress import IPv4Network
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from airflowaks.azure import region
from airflowaks.azure.arm import listed, rest
from airflowaks.azure.kubernetes_service import reaches
from airflowaks.config.schema import RESERVED_NETWORKS, SpotPool
from airflowaks.engine.resource import value_at
from airflowaks.preflight.resources import planned
from airflowaks.preflight.rows import Row
from airflowaks.steps import backend, cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflowaks.azure.region import Quota
    from airflowaks.config.schema import NodePool
    from airflowaks.session import Session

AIRFLOW_TESTED_WITH = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35")
"""https://github.com/apache/airflow/blob/3.3.2/README.md#requirements"""

_NETWORKS_API = "2024-05-01"
# https://learn.microsoft.com/azure/aks/upgrade-aks-node-pools-rolling#customize-node-surge-upgrade
_SURGE = 0.1
_SPOT_QUOTA = "lowprioritycores"
_GIB = 1024**3
SYSTEM_POOL_GB = 4
"""https://learn.microsoft.com/azure/aks/quotas-skus-regions#restricted-vm-sizes, and /use-system-pools."""
_LOCAL_DISKS = {"CachedDiskBytes": 1, "MaxResourceVolumeMB": 1024**2, "NvmeDiskSizeInMiB": 1024**2}


def providers(session: Session) -> Iterator[Row]:
    """Ask for the registration of each resource provider, and for the regions of each service."""
    environment, step = session.environment, session.memoize(cluster.Resources)
    unregistered, absent = [], []
    for provider in step.providers:
        listing: Any = session.resources.providers.get(provider.name, cls=rest)
        if listing["registrationState"] != "Registered":
            unregistered.append(provider.name)
        regions = {each["resourceType"].lower(): each["locations"] for each in listing["resourceTypes"]}
        for resource in planned(session):
            namespace, _, kind = resource.type.partition("/")
            offered = regions.get(kind.lower()) if namespace == provider.name else None
            if offered and environment.location not in map(_canonical, offered):
                absent.append(resource.kind)
    seen = (
        f"step 1 registers {', '.join(unregistered)}" if unregistered else f"all {len(step.providers)} are registered"
    )
    yield Row("resource providers", "ok", seen)
    if absent:
        action = "Set `location` to another region: https://azure.microsoft.com/explore/global-infrastructure/products-by-region."
        yield Row("services", "stops", f"{environment.location} has no {', no '.join(absent)}", action)
    else:
        yield Row("services", "ok", f"{environment.location} has all of them")


def _canonical(display_name: str) -> str:
    return display_name.replace(" ", "").lower()


def nodes(session: Session) -> Iterator[Row]:
    """Ask for the nodes' sizes in the region and its zones, and for the cores that the autoscaler may want."""
    demands: dict[str, list[_Demand]] = {}
    for key, pool in session.environment.cluster.pools.items():
        present = _present_pool(session, pool)
        size = region.vm_size(session, pool.vm_size)
        if size is None:
            location = session.environment.location
            action = f"Set `cluster.{key}.vm_size` to one of `az vm list-skus --location {location}`."
            yield Row("node size", "stops", f"{location} has no {pool.vm_size}", action)
            return
        yield _size_row(session, key, size, exists=present is not None)
        cores = next(int(each["value"]) for each in size["capabilities"] if each["name"] == "vCPUs")
        demand = _Demand(pool, cores, int((present or {}).get("count", 0)))
        # https://learn.microsoft.com/azure/quotas/spot-quota: one for all spot machines of the region.
        for quota in (_SPOT_QUOTA,) if isinstance(pool, SpotPool) else (size["family"].lower(), "cores"):
            demands.setdefault(quota, []).append(demand)
    yield from _quota_rows(region.quotas(session), demands)


def _present_pool(session: Session, pool: NodePool) -> Mapping[str, Any] | None:
    pools = value_at(session.memoize(cluster.Resources).cluster.facts, "properties.agentPoolProfiles") or ()
    return next((present for present in pools if present["name"] == pool.name), None)


def _size_row(session: Session, key: str, size: Mapping[str, Any], *, exists: bool) -> Row:
    pool, location = session.environment.cluster.pools[key], session.environment.location
    capabilities = {each["name"]: each["value"] for each in size["capabilities"]}
    zones = {zone for place in size["locationInfo"] for zone in place.get("zones") or ()}
    closed = False
    for restriction in size["restrictions"]:
        closed = closed or restriction["type"] == "Location"
        zones -= set(restriction["restrictionInfo"].get("zones") or ())
    missing = [zone for zone in pool.zones if zone not in zones]
    seen = f"{pool.vm_size} in {location}" + (f", zones {', '.join(pool.zones)}" if pool.zones else "")
    if exists or not (closed or missing):
        small = None if exists else _memory_row(session, key, pool, capabilities)
        return small or _disk_row(key, pool, capabilities) or Row("node size", "ok", seen)
    where = f"{location}" if closed else f"zone {', '.join(missing)} of {location}"
    action = "Choose another size, zone or region, or request access: https://aka.ms/azureskunotavailable."
    return Row("node size", "stops", f"{pool.vm_size} is not available to the subscription in {where}", action)


def _memory_row(session: Session, key: str, pool: NodePool, capabilities: Mapping[str, str]) -> Row | None:
    """Return the row of a system pool, which is the first one, whose machines have too little memory for AKS."""
    memory = capabilities.get("MemoryGB", str(SYSTEM_POOL_GB))
    if key != next(iter(session.environment.cluster.pools)) or float(memory) >= SYSTEM_POOL_GB:
        return None
    seen = f"{pool.vm_size} has {memory} GiB of memory, and a system pool needs {SYSTEM_POOL_GB}"
    return Row("node size", "stops", seen, f"Set `cluster.{key}.vm_size` to a larger size such as Standard_D4ds_v5.")


def _disk_row(key: str, pool: NodePool, capabilities: Mapping[str, str]) -> Row | None:
    """Return the row of a local disk on which the operating system's does not fit (VMTemporaryDiskTooSmall).

    https://learn.microsoft.com/azure/virtual-machines/ephemeral-os-disks: it may be cache, temporary or NVMe disk.
    """
    local = [int(capabilities[name]) * unit for name, unit in _LOCAL_DISKS.items() if name in capabilities]
    unsupported = capabilities.get("EphemeralOSDiskSupported") == "False"
    if pool.os_disk == "Managed" or not (unsupported or (local and max(local) < pool.os_disk_gb * _GIB)):
        return None
    disk = "has none for an operating system" if unsupported else f"has {max(local) // _GIB} GiB"
    action = f"Lower `cluster.{key}.os_disk_gb`, set `os_disk: Managed`, or choose a larger size."
    seen = f"the local disk of {pool.vm_size} {disk}, and os_disk_gb is {pool.os_disk_gb}"
    return Row("node size", "stops", seen, action)


class _Demand(NamedTuple):
    """The cores that the nodes of a pool take, and how many nodes it has already."""

    pool: NodePool
    cores: int
    present: int

    @property
    def surge(self) -> int:
        """Return how many nodes an upgrade adds; AKS adds none to spot pools."""
        return 0 if isinstance(self.pool, SpotPool) else ceil(self.pool.max_count * _SURGE)


def _quota_rows(quotas: Mapping[str, Quota], demands: Mapping[str, Sequence[_Demand]]) -> Iterator[Row]:
    """Yield the row of the quota with the least room for regular nodes, and that of spot nodes."""
    rows = {name: _quota_row(quotas[name], demand) for name, demand in demands.items() if name in quotas}
    regular = [row for name, row in rows.items() if name != _SPOT_QUOTA]
    if not regular:
        yield Row("vCPU quota", "unknown", "Azure lists no quota of the size's family", "See Quotas in the portal.")
    for some in (regular, [rows[_SPOT_QUOTA]] if _SPOT_QUOTA in rows else []):
        if some:
            yield min(some, key=lambda row: row[0])[1]


def _quota_row(quota: Quota, demands: Sequence[_Demand]) -> tuple[int, Row]:
    """Return how many cores are left when all pools are at their largest, and the row."""
    present = sum(demand.present * demand.cores for demand in demands)
    # A quota that was lowered may be below what is used.
    free = max(0, quota.limit - quota.used + present)
    most, surge = sum(demand.pool.max_count for demand in demands), sum(demand.surge for demand in demands)
    wanted = sum((demand.pool.max_count + demand.surge) * demand.cores for demand in demands)
    least = sum(demand.pool.min_count for demand in demands)
    begin = sum(demand.pool.min_count * demand.cores for demand in demands)
    room = f"{free} of {quota.limit} free" + (", the present nodes' included" if present else "")
    seen = f"{quota.title}: {room}; {most} nodes" + (f" and {surge} in an upgrade" if surge else "") + f" take {wanted}"
    action = f"Request {wanted} in the portal under Quotas, lower `max_count`, or choose another size."
    if free < begin:
        row = Row("vCPU quota", "stops", f"{seen}, and {least} to begin with {begin}", action)
    else:
        row = Row("vCPU quota", "ok", seen) if free >= wanted else Row("vCPU quota", "warns", seen, action)
    return free - wanted, row


def kubernetes(session: Session) -> Iterator[Row]:
    """Ask which releases of Kubernetes the region offers with the tier's support plan."""
    version = session.environment.cluster.kubernetes_version
    running = value_at(session.memoize(cluster.Resources).cluster.facts, "properties.currentKubernetesVersion") or ""
    if running and reaches(running, version):
        yield Row("Kubernetes", "ok", f"the cluster runs {running}")
        return
    releases = region.kubernetes_releases(session)
    region.require_release(session, "Kubernetes", version, releases)
    seen = f"{version} is one of {', '.join(releases.offered)}"
    release = ".".join(version.split(".")[:2])
    if release in releases.previews:
        yield Row("Kubernetes", "warns", f"{version} is a preview, without support", "Choose a version that is none.")
    elif release not in AIRFLOW_TESTED_WITH:
        tested = f"Airflow 3.3.2 is tested with {AIRFLOW_TESTED_WITH[0]} to {AIRFLOW_TESTED_WITH[-1]}"
        yield Row("Kubernetes", "warns", f"{seen}; {tested}", "Choose a version that Airflow is tested with.")
    else:
        yield Row("Kubernetes", "ok", seen)


def postgresql(session: Session) -> Iterator[Row]:
    """Ask whether the subscription may have the server in the region: version, size, high availability."""
    settings, location = session.environment.postgresql, session.environment.location
    facts = session.memoize(backend.Resources).server.facts
    capabilities = region.postgresql_capabilities(session)
    if facts is None and (_restricted(capabilities) or not capabilities.get("supportedServerEditions")):
        reason = capabilities.get("reason") or "the region is closed for the subscription"
        action = "Set `location` to another region, or request access: https://aka.ms/postgres-request-quota-increase."
        yield Row("PostgreSQL", "stops", f"{location}: {reason}", action)
        return
    if value_at(facts, "properties.version") != settings.version:
        releases = region.postgresql_releases(capabilities)
        region.require_release(session, "PostgreSQL", settings.version, releases)
    sizes = {
        size["name"].lower(): size
        for edition in region.offered(capabilities, "supportedServerEditions")
        for size in region.offered(edition, "supportedServerSkus")
    }
    size, mode = sizes.get(settings.sku.lower()), settings.high_availability
    if size is None:
        action = f"Set `postgresql.sku` to one of `az postgres flexible-server list-skus --location {location}`."
        yield Row("PostgreSQL", "stops", f"{location} has no server of size {settings.sku}", action)
    elif mode not in (
        "Disabled",
        value_at(facts, "properties.highAvailability.mode"),
        *(size["supportedHaMode"] or ()),
    ):
        offered = ", ".join(size["supportedHaMode"] or ()) or "none"
        message = f"{location} has no high availability of mode {mode} for {settings.sku}; it has {offered}"
        action = "Set `postgresql.high_availability` to one of these or to Disabled, or `location` to another region."
        yield Row("PostgreSQL", "stops", message, action)
    else:
        yield Row("PostgreSQL", "ok", f"version {settings.version}, {settings.sku}, high availability {mode}")


def _restricted(capabilities: Mapping[str, Any]) -> bool:
    """Tell whether the region is restricted for the subscription.

    The model of API version 2026-10-01 deprecates the property for the feature Restricted, and `az` reads
    OfferRestricted (azure-cli's `_flexible_server_location_capabilities_util.py`).
    """
    features = {feature.get("name"): feature.get("status") for feature in capabilities.get("supportedFeatures") or ()}
    return "Enabled" in (capabilities.get("restricted"), features.get("OfferRestricted"), features.get("Restricted"))


def networks(session: Session) -> Iterator[Row]:
    """Compare the cluster's ranges, which the schema keeps apart, with the networks of the subscription."""
    environment, ranges = session.environment, session.environment.cluster.network
    path = f"/subscriptions/{environment.subscription_id}/providers/Microsoft.Network/virtualNetworks"
    mine = {"pods": ranges.pod_cidr, "services": ranges.service_cidr}
    overlaps = [
        f"{what} {cidr} and {network['name']} {prefix}"
        for network in listed(session, path, **{"api-version": _NETWORKS_API})
        for prefix in value_at(network, "properties.addressSpace.addressPrefixes") or ()
        for what, cidr in mine.items()
        if ":" not in prefix and IPv4Network(prefix).overlaps(IPv4Network(cidr))
    ]
    if overlaps:
        action = "Choose other ranges under `cluster.network` if that network is to be reached from the cluster."
        yield Row("networks", "warns", f"overlapping: {'; '.join(overlaps)}", action)
    else:
        seen = ", ".join(f"{what} {cidr}" for what, cidr in mine.items())
        yield Row("networks", "ok", f"{seen}, nodes {RESERVED_NETWORKS[-1]}: no overlap")
