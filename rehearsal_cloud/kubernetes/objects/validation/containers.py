"""Rules of containers: names, images, ports, environment, resources, mounts, probes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects.validation.causes import (
    duplicate,
    forbidden,
    in_range,
    invalid,
    not_found,
    not_negative,
    not_supported,
    required,
)
from rehearsal_cloud.kubernetes.objects.validation.environment import environment
from rehearsal_cloud.kubernetes.objects.validation.names import checked, dns_label, label_key, port_name, supported
from rehearsal_cloud.kubernetes.objects.validation.services import LAST_PORT, port_reference
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_MOST = 2**31 - 1
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_NOT_FOR_DEBUGGING = ("ports", "resources", "resizePolicy", "restartPolicy", *_PROBES, "lifecycle")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def containers(path: str, spec: Document) -> Iterator[Cause]:
    """Yield the validation errors of the containers of a pod's spec."""
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    volumes = {volume.get("name") for volume in spec.get("volumes", ())}
    names: set[str] = set()
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            where, name = f"{path}.{kind}[{index}]", container.get("name", "")
            if not name:
                yield required(f"{where}.name")
            elif name in names:
                yield duplicate(f"{where}.name", name)
            else:
                yield from checked(f"{where}.name", name, dns_label)
            names.add(name)
            yield from _container(where, container, volumes)
            if kind == "initContainers" and container.get("restartPolicy") != "Always":
                for field in (*_PROBES, "lifecycle"):
                    if field in container:
                        text = "may not be set for init containers without restartPolicy=Always"
                        yield forbidden(f"{where}.{field}", text)


def ephemeral(path: str, spec: Document) -> Iterator[Cause]:
    """Yield the validation errors of containers for debugging: validateEphemeralContainers in pkg/apis/core."""
    volumes = {volume.get("name") for volume in spec.get("volumes", ())}
    others = {container["name"] for kind in ("containers", "initContainers") for container in spec.get(kind, ())}
    names = set(others)
    for index, container in enumerate(spec.get("ephemeralContainers", ())):
        where, name = f"{path}.ephemeralContainers[{index}]", container.get("name", "")
        if not name:
            yield required(f"{where}.name")
        elif name in names:
            yield duplicate(f"{where}.name", name)
        else:
            yield from checked(f"{where}.name", name, dns_label)
        names.add(name)
        yield from _container(where, container, volumes)
        target = container.get("targetContainerName")
        if target and target not in others:
            yield not_found(f"{where}.targetContainerName", target)
        text = "cannot be set for an Ephemeral Container"
        for field in _NOT_FOR_DEBUGGING:
            if container.get(field):
                yield forbidden(f"{where}.{field}", text)
        for number, mount in enumerate(container.get("volumeMounts", ())):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    yield forbidden(f"{where}.volumeMounts[{number}].{field}", text)


def seccomp(path: str, profile: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a seccomp profile."""
    if profile is None:
        return
    if not profile.get("type"):
        yield required(f"{path}.type", "type is required when seccompProfile is set")
        return
    yield from supported(f"{path}.type", profile["type"], "Localhost", "RuntimeDefault", "Unconfined")
    if profile["type"] == "Localhost" and not profile.get("localhostProfile"):
        yield required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")


def _container(path: str, container: Document, volumes: set[Any]) -> Iterator[Cause]:
    image = container.get("image", "")
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    for hook, handler in sorted(container.get("lifecycle", {}).items()):
        if isinstance(handler, dict):
            yield from _handler(f"{path}.lifecycle.{hook}", handler)
    for name in _PROBES:
        if name in container:
            yield from _probe(f"{path}.{name}", container[name], once=name != "readinessProbe")
    policies = ("File", "FallbackToLogsOnError")
    yield from supported(f"{path}.terminationMessagePolicy", container["terminationMessagePolicy"], *policies)
    yield from _ports(f"{path}.ports", container.get("ports", []))
    yield from environment(path, container)
    yield from _mounts(f"{path}.volumeMounts", container.get("volumeMounts", []), volumes)
    yield from supported(f"{path}.imagePullPolicy", container["imagePullPolicy"], "Always", "IfNotPresent", "Never")
    yield from resources(f"{path}.resources", container.get("resources", {}))
    yield from _security(f"{path}.securityContext", container.get("securityContext", {}))


def _ports(path: str, ports: list[Document]) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        where, name = f"{path}[{index}]", port.get("name", "")
        if name:
            wrong = list(checked(f"{where}.name", name, port_name))
            yield from wrong or ([duplicate(f"{where}.name", name)] if name in names else [])
            names.add(name)
        if not port.get("containerPort"):
            yield required(f"{where}.containerPort")
        else:
            yield from in_range(f"{where}.containerPort", port["containerPort"], 1, LAST_PORT)
        yield from in_range(f"{where}.hostPort", port.get("hostPort"), 1, LAST_PORT)
        yield from supported(f"{where}.protocol", port["protocol"], "SCTP", "TCP", "UDP")


def _mounts(path: str, mounts: list[Document], volumes: set[Any]) -> Iterator[Cause]:
    places: set[str] = set()
    for index, mount in enumerate(mounts):
        where, name, place = f"{path}[{index}]", mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield required(f"{where}.name")
        elif name not in volumes:
            yield not_found(f"{where}.name", name)
        if not place:
            yield required(f"{where}.mountPath")
        elif place in places:
            yield invalid(f"{where}.mountPath", place, "must be unique")
        places.add(place)
        for key in ("subPath", "subPathExpr"):
            yield from relative(f"{path}.{key}", mount.get(key, ""))
        if mount.get("subPath") and mount.get("subPathExpr"):
            text = "subPathExpr and subPath are mutually exclusive"
            yield invalid(f"{path}.subPathExpr", mount["subPathExpr"], text)


def relative(path: str, text: str) -> Iterator[Cause]:
    """Yield the validation errors of a path that must stay inside a volume."""
    if text.startswith("/"):
        yield invalid(path, text, "must be a relative path")
    if ".." in text.split("/"):
        yield invalid(path, text, "must not contain '..'")


def resources(path: str, requirements: Document) -> Iterator[Cause]:
    """Yield the validation errors of requests and limits."""
    limits, requests = requirements.get("limits", {}), requirements.get("requests", {})
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, value in sorted(amounts.items()):
            where = f"{path}.{kind}[{name}]"
            if "/" in name:
                yield from checked(where, name, label_key)
            elif name not in _RESOURCES and not name.startswith("hugepages-"):
                yield invalid(where, name, "must be a standard resource type or fully qualified")
                yield invalid(where, name, "must be a standard resource for containers")
            if amount(value) < 0:
                yield invalid(where, value, "must be greater than or equal to 0")
    for name, value in sorted(requests.items()):
        if name in limits and amount(value) > amount(limits[name]):
            text = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid(f"{path}.requests", value, text)


def _probe(path: str, probe: Document, *, once: bool) -> Iterator[Cause]:
    yield from _handler(path, {name: value for name, value in probe.items() if name in _HANDLERS})
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        yield from not_negative(f"{path}.{name}", probe.get(name))
    if once and probe["successThreshold"] != 1:
        yield invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    seconds = probe.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds <= 0:
        yield invalid(f"{path}.terminationGracePeriodSeconds", seconds, "must be greater than 0")


def _handler(path: str, handler: Document) -> Iterator[Cause]:
    if not handler:
        yield required(path, "must specify a handler type")
    for index, name in enumerate(known_name for known_name in _HANDLERS if known_name in handler):
        if index:
            yield forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
            continue
        action = handler[name]
        if name == "exec" and not action.get("command"):
            yield required(f"{path}.exec.command")
        if name == "httpGet":
            if not action.get("path"):
                yield required(f"{path}.httpGet.path")
            yield from supported(f"{path}.httpGet.scheme", action.get("scheme"), "HTTP", "HTTPS")
        if name in ("httpGet", "tcpSocket"):
            yield from port_reference(f"{path}.{name}.port", action.get("port", 0))
        if name == "grpc":
            yield from in_range(f"{path}.grpc.port", action.get("port", 0), 1, LAST_PORT)


def _security(path: str, context: Document) -> Iterator[Cause]:
    for name in ("runAsUser", "runAsGroup"):
        yield from in_range(f"{path}.{name}", context.get(name), 0, _MOST)
    yield from seccomp(f"{path}.seccompProfile", context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield invalid(path, context, text)
        added = context.get("capabilities", {}).get("add", ())
        if any(re.fullmatch("(CAP_)?SYS_ADMIN", capability) for capability in added):
            text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield invalid(path, context, text)
    mount = context.get("procMount")
    if mount not in (None, "Default", "Unmasked"):
        yield not_supported(f"{path}.procMount", mount, ["Default", "Unmasked"])
