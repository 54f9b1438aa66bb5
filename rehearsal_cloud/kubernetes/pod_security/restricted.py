"""Restricted: the controls of hardened pods, besides those of baseline.

After https://github.com/kubernetes/pod-security-admission/tree/master/policy, a check_*.go for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.pod_security.baseline import PROFILES, proc_mount, seccomp, unless_user_namespace
from rehearsal_cloud.kubernetes.pod_security.violations import (
    Control,
    Violation,
    breaking,
    containers,
    named,
    plural,
    quoted,
    security,
    setters,
)

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.pod_security.violations import Check

_VOLUMES = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
)  # fmt: skip
_FORBIDDEN_VOLUMES = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd",
    "flexVolume", "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk",
    "photonPersistentDisk", "portworxVolume", "scaleIO", "storageos",
)  # fmt: skip


def _privilege_escalation(pod: Document) -> Violation | None:
    names = breaking(pod, lambda container: security(container, "allowPrivilegeEscalation") is not False)
    detail = f"{named('container', names)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail) if names else None


def _capabilities(pod: Document) -> Violation | None:
    def listed(container: Document, way: str) -> set[str]:
        return set((security(container, "capabilities") or {}).get(way) or ())

    def added(container: Document) -> set[str]:
        return listed(container, "add") - {"NET_BIND_SERVICE"}

    keeping, adding = breaking(pod, lambda container: "ALL" not in listed(container, "drop")), breaking(pod, added)
    details = [f'{named("container", keeping)} must set securityContext.capabilities.drop=["ALL"]'] if keeping else []
    if adding:
        values = quoted(sorted(set().union(*map(added, containers(pod)))))
        details.append(f"{named('container', adding)} must not include {values} in securityContext.capabilities.add")
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def _volumes(pod: Document) -> Violation | None:
    bad = {
        volume["name"]: next((kind for kind in _FORBIDDEN_VOLUMES if volume.get(kind) is not None), "unknown")
        for volume in pod["spec"].get("volumes") or ()
        if all(volume.get(kind) is None for kind in _VOLUMES)
    }
    kinds = sorted(set(bad.values()))
    verb = "uses" if len(bad) == 1 else "use"
    detail = f"{named('volume', list(bad))} {verb} {plural('restricted volume type', kinds)} {quoted(kinds)}"
    return Violation("restricted volume types", detail) if bad else None


def _non_root(pod: Document) -> Violation | None:
    of_pod = security(pod["spec"], "runAsNonRoot")
    reason = "runAsNonRoot != true"
    explicit = breaking(pod, lambda container: security(container, "runAsNonRoot") is False)
    if explicit or of_pod is False:
        subjects = setters(of_pod is False, explicit)
        return Violation(reason, f"{subjects} must not set securityContext.runAsNonRoot=false")
    implicit = breaking(pod, lambda container: not of_pod and security(container, "runAsNonRoot") is None)
    detail = f"pod or {named('container', implicit)} must set securityContext.runAsNonRoot=true"
    return Violation(reason, detail) if implicit else None


def _user(pod: Document) -> Violation | None:
    def root(holder: Document) -> bool:
        return bool(security(holder, "runAsUser") == 0)

    subjects = setters(root(pod["spec"]), breaking(pod, root))
    return Violation("runAsUser=0", f"{subjects} must not set runAsUser=0") if subjects else None


def _seccomp(pod: Document) -> Violation | None:
    if (explicit := seccomp(pod)) is not None:
        return explicit
    of_pod = security(pod["spec"], "seccompProfile")
    implicit = breaking(pod, lambda container: not of_pod and not security(container, "seccompProfile"))
    allowed = " or ".join(f'"{profile}"' for profile in reversed(PROFILES))
    detail = f"pod or {named('container', implicit)} must set securityContext.seccompProfile.type to {allowed}"
    return Violation("seccompProfile", detail) if implicit else None


def _unless_windows(check: Check) -> Check:
    return lambda pod: None if (pod["spec"].get("os") or {}).get("name") == "windows" else check(pod)


RESTRICTED = (
    Control("allowPrivilegeEscalation", 8, _privilege_escalation),
    Control("allowPrivilegeEscalation", 25, _unless_windows(_privilege_escalation)),
    Control("capabilities_restricted", 22, _capabilities, "capabilities_baseline"),
    Control("capabilities_restricted", 25, _unless_windows(_capabilities), "capabilities_baseline"),
    Control("procMount_restricted", 35, proc_mount, "procMount"),
    Control("restrictedVolumes", 0, _volumes, "hostPathVolumes"),
    Control("runAsNonRoot", 0, _non_root),
    Control("runAsNonRoot", 35, unless_user_namespace(_non_root)),
    Control("runAsUser", 23, _user),
    Control("runAsUser", 35, unless_user_namespace(_user)),
    Control("seccompProfile_restricted", 19, _seccomp, "seccompProfile_baseline"),
    Control("seccompProfile_restricted", 25, _unless_windows(_seccomp), "seccompProfile_baseline"),
)
"""The controls, in the order of messages."""
