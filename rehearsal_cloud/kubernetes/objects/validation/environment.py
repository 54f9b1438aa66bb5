"""Rules of a container's environment: variables and where they come from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation.causes import invalid, not_supported, required
from rehearsal_cloud.kubernetes.objects.validation.names import checked, config_key, dns_subdomain, variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_FIELDS = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
    "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)  # fmt: skip


def environment(path: str, container: Document) -> Iterator[Cause]:
    """Yield the validation errors of a container's variables."""
    for index, item in enumerate(container.get("env", ())):
        where = f"{path}.env[{index}]"
        if not item.get("name"):
            yield required(f"{where}.name")
        else:
            yield from checked(f"{where}.name", item["name"], variable)
        if "valueFrom" in item:
            yield from _source(f"{where}.valueFrom", item["valueFrom"], item.get("value", ""))
    for index, item in enumerate(container.get("envFrom", ())):
        where = f"{path}.envFrom[{index}]"
        if item.get("prefix"):
            yield from checked(f"{where}.prefix", item["prefix"], variable)
        sources = [name for name in ("configMapRef", "secretRef") if name in item]
        if not sources:
            yield invalid(f"{path}.envFrom", "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(sources) > 1:
            yield invalid(f"{path}.envFrom", "", "may not have more than one field specified at a time")
        for name in sources:
            yield from _reference(f"{where}.{name}", item[name])


def field_reference(path: str, reference: Document) -> Iterator[Cause]:
    """Yield the validation errors of a reference to a field of the pod."""
    field = reference.get("fieldPath", "")
    if not field:
        yield required(f"{path}.fieldPath")
        return
    subscript = re.fullmatch(r"(.+)\['(.*)'\]", field)
    name = subscript.group(1) if subscript else field
    if subscript and name not in ("metadata.labels", "metadata.annotations"):
        yield invalid(f"{path}.fieldPath", field, "error converting fieldPath: field label does not support subscript")
    elif name not in _FIELDS:
        yield invalid(f"{path}.fieldPath", field, f"error converting fieldPath: field label not supported: {field}")


def resource_reference(path: str, reference: Document) -> Iterator[Cause]:
    """Yield the validation errors of a reference to a container's resources."""
    resource = reference.get("resource", "")
    if not resource:
        yield required(f"{path}.resource")
    elif resource not in _RESOURCES and ".hugepages-" not in resource:
        yield not_supported(f"{path}.resource", resource, _RESOURCES)


def _source(path: str, source: Document, value: str) -> Iterator[Cause]:
    sources = [name for name in _SOURCES if name in source]
    if not sources:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        yield invalid(path, "", f"must specify one of: {listed}")
    elif value:
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif len(sources) > 1:
        yield invalid(path, "", "may not have more than one field specified at a time")
    if "fieldRef" in source:
        yield from field_reference(f"{path}.fieldRef", source["fieldRef"])
    if "resourceFieldRef" in source:
        yield from resource_reference(f"{path}.resourceFieldRef", source["resourceFieldRef"])
    for name in ("configMapKeyRef", "secretKeyRef"):
        if name in source:
            where, key = f"{path}.{name}", source[name].get("key", "")
            yield from _reference(where, source[name])
            yield from checked(f"{where}.key", key, config_key) if key else [required(f"{where}.key")]


def _reference(path: str, reference: Document) -> Iterator[Cause]:
    if not reference.get("name"):
        yield required(f"{path}.name")
    else:
        yield from checked(f"{path}.name", reference["name"], dns_subdomain)
