"""The Kubernetes versions that the rehearsal's region offers, in the format of AKS's listing.

The releases are those of https://learn.microsoft.com/azure/aks/supported-kubernetes-versions in late 2026; patches come
weekly on AKS, and the ones here are examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal_cloud.documents import Document

_RELEASES = {
    "1.32": ("1.32.10", "1.32.11"),
    "1.33": ("1.33.6", "1.33.7"),
    "1.34": ("1.34.4", "1.34.5"),
    "1.35": ("1.35.2", "1.35.3"),
    "1.36": ("1.36.0", "1.36.1"),
    "1.37": ("1.37.0",),
}
_DEFAULT = "1.35"
_PREVIEWS = ("1.37",)
_LONG_TERM_ONLY = ("1.32", "1.33")
"""Releases that have ended but for clusters with long-term support: the listing leaves out the other plan."""
SUPPORT_PLANS = ("KubernetesOfficial", "AKSLongTermSupport")
_OIDC_BY_DEFAULT_SINCE = (1, 34)


def supported(version: str) -> bool:
    """Tell whether a cluster may run `version`: a patch, or a release, which means its newest patch."""
    return version in _RELEASES or any(version in patches for patches in _RELEASES.values())


def release_of(version: str) -> str:
    """Return the release, such as 1.35, of a patch or a release."""
    return ".".join(version.split(".")[:2])


def support_plans(release: str) -> tuple[str, ...]:
    """Return the support plans with which a cluster may run a release."""
    return SUPPORT_PLANS[1:] if release in _LONG_TERM_ONLY else SUPPORT_PLANS


def current_version(version: str | None) -> str:
    """Return the patch that `version` means; without one, the default release's newest."""
    chosen = version or _DEFAULT
    return _RELEASES[chosen][-1] if chosen in _RELEASES else chosen


def oidc_by_default(patch: str) -> bool:
    """Tell whether a new cluster of this version has an OIDC issuer by default."""
    major, minor, _ = patch.split(".")
    return (int(major), int(minor)) >= _OIDC_BY_DEFAULT_SINCE


def upgrades(current: str, ended: Callable[[str], bool]) -> list[str]:
    """Return the patches that a cluster of the patch `current` may be upgraded to: newer ones, and the next release's.

    https://learn.microsoft.com/azure/aks/upgrade-aks-cluster: "Kubernetes minor versions can't be skipped".
    """
    listing: Document = versions(ended)
    releases = {value["version"]: value["patchVersions"] for value in listing["values"]}
    patches = releases.get(release_of(current), {}).get(current, {})
    newer: list[str] = patches.get("upgrades", [])
    return newer


def versions(ended: Callable[[str], bool]) -> Document:
    """Return the listing as `locations/kubernetesVersions` answers it, without the releases that have `ended`."""
    releases = [release for release in _RELEASES if not ended(release)]
    values = []
    for index, release in enumerate(releases):
        patches = _RELEASES[release]
        following = _RELEASES[releases[index + 1]] if index + 1 < len(releases) else ()
        value: Document = {
            "version": release,
            "capabilities": {"supportPlan": list(support_plans(release))},
            "patchVersions": {
                patch: {"upgrades": [*patches[number + 1 :], *following]} for number, patch in enumerate(patches)
            },
        }
        if release == _DEFAULT:
            value["isDefault"] = True
        if release in _PREVIEWS:
            value["isPreview"] = True
        values.append(value)
    return {"values": values}
