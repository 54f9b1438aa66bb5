"""What a region offers to the subscription: versions, sizes of machines, quotas, PostgreSQL's capabilities.

Source: Skus and Usage in https://learn.microsoft.com/rest/api/compute, `managedClusters/listKubernetesVersions` in
https://learn.microsoft.com/rest/api/aks, `capabilitiesByLocation` in https://learn.microsoft.com/rest/api/postgresql.
Importing azure-mgmt-compute takes a second, so its two lists go through Resource Manager's pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflowaks.azure.arm import listed, rest
from airflowaks.engine.resource import value_at
from airflowaks.errors import SkuNotAvailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflowaks.session import Session

_SIZES_API = "2021-07-01"
_USAGES_API = "2024-07-01"
_OFFICIAL = ("KubernetesOfficial",)


class Quota(NamedTuple):
    """How much of a quota is used, and its limit; its title is the portal's."""

    title: str
    used: int
    limit: int


def quotas(session: Session) -> dict[str, Quota]:
    """Return the quotas of compute in the region by the family of machines; `cores` is the region's total."""
    path = f"{_compute(session)}/locations/{session.environment.location}/usages"
    return {
        usage["name"]["value"].lower(): Quota(usage["name"]["localizedValue"], usage["currentValue"], usage["limit"])
        for usage in listed(session, path, **{"api-version": _USAGES_API})
    }


def vm_size(session: Session, name: str) -> dict[str, Any] | None:
    """Return a size of machines in the region with the subscription's restrictions, or None."""
    query = {"api-version": _SIZES_API, "$filter": f"location eq '{session.environment.location}'"}
    sizes = listed(session, f"{_compute(session)}/skus", **query)
    return next((size for size in sizes if size["resourceType"] == "virtualMachines" and size["name"] == name), None)


def _compute(session: Session) -> str:
    return f"/subscriptions/{session.environment.subscription_id}/providers/Microsoft.Compute"


class Releases(NamedTuple):
    """The releases of a program that the region offers, the newest last, and those of them that are previews."""

    offered: Sequence[str]
    previews: Sequence[str] = ()


def kubernetes_releases(session: Session) -> Releases:
    """Return the minor versions of Kubernetes that AKS offers with the support plan of the environment's tier."""
    plan = support_plan(session)
    listing: Any = session.clusters.managed_clusters.list_kubernetes_versions(session.environment.location, cls=rest)
    releases = [each for each in listing["values"] if plan in (value_at(each, "capabilities.supportPlan") or _OFFICIAL)]
    previews = [release["version"] for release in releases if release.get("isPreview")]
    return Releases(sorted((release["version"] for release in releases), key=_number), previews)


def support_plan(session: Session) -> str:
    """Return the support plan of the tier: https://learn.microsoft.com/azure/aks/long-term-support."""
    return "AKSLongTermSupport" if session.environment.cluster.tier == "Premium" else _OFFICIAL[0]


def postgresql_capabilities(session: Session) -> dict[str, Any]:
    """Return what the subscription may have of PostgreSQL in the region: versions, sizes, high availability."""
    listing = session.postgresql.capabilities_by_location.list(session.environment.location)
    return next((capability.as_dict() for capability in listing), {})


def offered(capabilities: Mapping[str, Any], kind: str) -> list[Any]:
    """Return the capabilities of a kind that the subscription may have: a disabled one is listed with a reason."""
    return [each for each in capabilities.get(kind) or () if each.get("status") != "Disabled"]


def postgresql_releases(capabilities: Mapping[str, Any]) -> Releases:
    """Return the major versions of PostgreSQL that new servers may have."""
    return Releases(
        sorted((version["name"] for version in offered(capabilities, "supportedServerVersions")), key=_number)
    )


def require_release(session: Session, program: str, version: str, releases: Releases) -> None:
    """Raise SkuNotAvailable, with those that are, where the region does not offer a version of a program."""
    release = ".".join(version.split(".")[:2])
    if release not in releases.offered:
        region = session.environment.location
        alternatives = ", ".join(each for each in releases.offered if each not in releases.previews) or "none"
        message = f"{program} {version} is not available in {region}; available are {alternatives}."
        if program == "Kubernetes" and support_plan(session) in _OFFICIAL:
            message += " A version that has ended may have long-term support, which the tier Premium brings."
        raise SkuNotAvailable(message, f"Set `{_KEYS[program]}` in the environment file to one of these.")


_KEYS = {"Kubernetes": "cluster.kubernetes_version", "PostgreSQL": "postgresql.version"}


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
