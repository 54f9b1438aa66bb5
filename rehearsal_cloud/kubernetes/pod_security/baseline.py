"""Baseline: the controls that prevent known privilege escalations.

After https://github.com/kubernetes/pod-security-admission/tree/master/policy, a check_*.go for each.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.pod_security.violations import Check

_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
PROFILES = ("Localhost", "RuntimeDefault")
"""The allowed types of AppArmor's and seccomp's profiles."""
_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
_SE_LINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
    }
)  # fmt: skip
_SYSCTLS_27 = _SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_29 = _SYSCTLS_27 | {
    f"net.ipv4.tcp_{name}" for name in ("keepalive_time", "fin_timeout", "keepalive_intvl", "keepalive_probes")
}
_SYSCTLS_32 = _SYSCTLS_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}


def _app_armor(pod: Document) -> Violation | None:
    def bad(holder: Document) -> str:
        profile = security(holder, "appArmorProfile")
        return "" if profile is None or profile["type"] in PROFILES else profile["type"]

    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    forbidden = sorted(
        f"{key}={json.dumps(value)}"
        for key, value in annotations.items()
        if key.startswith(_APP_ARMOR) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    )
    names = breaking(pod, bad)
    values = sorted({bad(holder) for holder in (pod["spec"], *containers(pod))} - {""}) + forbidden
    if not values:
        return None
    subjects = [setters(bad(pod["spec"]), names), plural("annotation", forbidden) if forbidden else ""]
    detail = f"{' and '.join(filter(None, subjects))} must not set AppArmor profile type to {quoted(values)}"
    return Violation(plural("forbidden AppArmor profile", values), detail)


def _capabilities(pod: Document) -> Violation | None:
    def added(container: Document) -> set[str]:
        return set((security(container, "capabilities") or {}).get("add") or ()) - _CAPABILITIES

    names = breaking(pod, added)
    if not names:
        return None
    values = sorted(set().union(*map(added, containers(pod))))
    detail = f"{named('container', names)} must not include {quoted(values)} in securityContext.capabilities.add"
    return Violation("non-default capabilities", detail)


def _host_namespaces(pod: Document) -> Violation | None:
    shared = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if pod["spec"].get(name)]
    return Violation("host namespaces", ", ".join(shared)) if shared else None


def _host_path_volumes(pod: Document) -> Violation | None:
    names = [volume["name"] for volume in pod["spec"].get("volumes") or () if volume.get("hostPath") is not None]
    return Violation("hostPath volumes", named("volume", names)) if names else None


def _host_ports(pod: Document) -> Violation | None:
    def ports(container: Document) -> set[str]:
        return {str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")}

    names = breaking(pod, ports)
    if not names:
        return None
    values = sorted(set().union(*map(ports, containers(pod))))
    return Violation("hostPort", f"{_users(names)} {plural('hostPort', values)} {', '.join(values)}")


def _host_probes(pod: Document) -> Violation | None:
    def hosts(container: Document) -> set[str]:
        handlers = [container.get(f"{name}Probe") or {} for name in ("liveness", "readiness", "startup")]
        handlers += [(container.get("lifecycle") or {}).get(name) or {} for name in ("postStart", "preStop")]
        actions = [handler.get(name) or {} for handler in handlers for name in ("httpGet", "tcpSocket")]
        return {action["host"] for action in actions if action.get("host")}

    names = sorted(breaking(pod, hosts))
    if not names:
        return None
    values = sorted(set().union(*map(hosts, containers(pod))))
    reason = "probe or lifecycle host"
    return Violation(reason, f"{_users(names)} {plural(reason, values)} {quoted(values)}")


def _users(names: list[str]) -> str:
    return f"{named('container', names)} {'uses' if len(names) == 1 else 'use'}"


def _privileged(pod: Document) -> Violation | None:
    names = breaking(pod, lambda container: security(container, "privileged"))
    detail = f"{named('container', names)} must not set securityContext.privileged=true"
    return Violation("privileged", detail) if names else None


def proc_mount(pod: Document) -> Violation | None:
    """Return the violation of a pod with an unmasked /proc."""

    def bad(container: Document) -> str:
        value = security(container, "procMount")
        return "" if value in (None, "Default") else value

    names = breaking(pod, bad)
    values = sorted({bad(container) for container in containers(pod)} - {""})
    detail = f"{named('container', names)} must not set securityContext.procMount to {quoted(values)}"
    return Violation("procMount", detail) if names else None


def unless_user_namespace(check: Check) -> Check:
    """Return the check for pods without a user namespace of their own: those with `hostUsers: false` are allowed."""
    return lambda pod: None if pod["spec"].get("hostUsers") is False else check(pod)


def _se_linux_options(types: frozenset[str], pod: Document) -> Violation | None:
    def options(holder: Document) -> Document:
        return security(holder, "seLinuxOptions") or {}

    def bad(holder: Document) -> bool:
        chosen = options(holder)
        return chosen.get("type", "") not in types or bool(chosen.get("user") or chosen.get("role"))

    names, of_pod = breaking(pod, bad), bad(pod["spec"])
    if not (names or of_pod):
        return None
    everything = [options(holder) for holder in (pod["spec"], *containers(pod))]
    values = sorted({chosen.get("type", "") for chosen in everything} - types)
    parts = [named("type", values)] if values else []
    parts += [f"{field} may not be set" for field in ("user", "role") if any(map(_has(field), everything))]
    detail = f"{setters(of_pod, names)} set forbidden securityContext.seLinuxOptions: {'; '.join(parts)}"
    return Violation("seLinuxOptions", detail)


def _has(field: str) -> Any:
    return lambda options: options.get(field)


def _seccomp_annotations(pod: Document) -> Violation | None:
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    keys = [_SECCOMP, *(_SECCOMP_CONTAINER + container["name"] for container in containers(pod))]
    bad = sorted({f"{key}={json.dumps(annotations[key])}" for key in _unlike_default(annotations, keys)})
    return Violation("seccompProfile", f"forbidden {plural('annotation', bad)} {', '.join(bad)}") if bad else None


def _unlike_default(annotations: Document, keys: list[str]) -> Iterator[str]:
    for key in keys:
        value = annotations.get(key)
        if value not in (None, "runtime/default", "docker/default") and not value.startswith("localhost/"):
            yield key


def seccomp(pod: Document) -> Violation | None:
    """Return the violation of a pod whose seccomp profile is none of the allowed."""

    def bad(holder: Document) -> str:
        profile = security(holder, "seccompProfile")
        return "" if profile is None or profile["type"] in PROFILES else profile["type"]

    values = sorted({bad(holder) for holder in (pod["spec"], *containers(pod))} - {""})
    subjects = setters(bad(pod["spec"]), breaking(pod, bad))
    detail = f"{subjects} must not set securityContext.seccompProfile.type to {quoted(values)}"
    return Violation("seccompProfile", detail) if values else None


def _sysctls(allowed: frozenset[str], pod: Document) -> Violation | None:
    names = [sysctl["name"] for sysctl in security(pod["spec"], "sysctls") or () if sysctl["name"] not in allowed]
    return Violation("forbidden sysctls", ", ".join(names)) if names else None


def _windows_host_process(pod: Document) -> Violation | None:
    def bad(holder: Document) -> object:
        return (security(holder, "windowsOptions") or {}).get("hostProcess")

    subjects = setters(bad(pod["spec"]), breaking(pod, bad))
    detail = f"{subjects} must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", detail) if subjects else None


BASELINE = (
    Control("appArmorProfile", 0, _app_armor),
    Control("capabilities_baseline", 0, _capabilities),
    Control("hostNamespaces", 0, _host_namespaces),
    Control("hostPathVolumes", 0, _host_path_volumes),
    Control("hostPorts", 0, _host_ports),
    Control("hostProbesAndHostLifecycle", 34, _host_probes),
    Control("privileged", 0, _privileged),
    Control("procMount", 0, proc_mount),
    Control("procMount", 35, unless_user_namespace(proc_mount)),
    Control("seLinuxOptions", 0, partial(_se_linux_options, _SE_LINUX)),
    Control("seLinuxOptions", 31, partial(_se_linux_options, _SE_LINUX | {"container_engine_t"})),
    Control("seccompProfile_baseline", 0, _seccomp_annotations),
    Control("seccompProfile_baseline", 19, seccomp),
    Control("sysctls", 0, partial(_sysctls, _SYSCTLS)),
    Control("sysctls", 27, partial(_sysctls, _SYSCTLS_27)),
    Control("sysctls", 29, partial(_sysctls, _SYSCTLS_29)),
    Control("sysctls", 32, partial(_sysctls, _SYSCTLS_32)),
    Control("windowsHostProcess", 0, _windows_host_process),
)
"""The controls, in the order of messages."""
