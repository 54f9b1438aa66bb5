"""Rules of a pod's volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation.causes import duplicate, forbidden, in_range, invalid, required
from rehearsal_cloud.kubernetes.objects.validation.environment import field_reference, resource_reference
from rehearsal_cloud.kubernetes.objects.validation.names import checked, dns_label, dns_subdomain, supported
from rehearsal_cloud.kubernetes.objects.validation.storage import claim_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_SHORTEST_TOKEN = 600
_LONGEST_TOKEN = 2**32
_MOST_MODE = 0o777
_NEEDED = (
    ("secret", "secretName"),
    ("configMap", "name"),
    ("persistentVolumeClaim", "claimName"),
    ("csi", "driver"),
    ("hostPath", "path"),
    ("nfs", "server"),
    ("nfs", "path"),
)
_HOST_PATHS = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip


def volumes(path: str, pod_volumes: list[Document]) -> Iterator[Cause]:
    """Yield the validation errors of volumes."""
    names: set[str] = set()
    for index, volume in enumerate(pod_volumes):
        where, name = f"{path}[{index}]", volume.get("name", "")
        if not name:
            yield required(f"{where}.name")
        elif name in names:
            yield duplicate(f"{where}.name", name)
        else:
            yield from checked(f"{where}.name", name, dns_label)
        names.add(name)
        yield from _source(where, {key: value for key, value in volume.items() if key != "name"})


def _source(path: str, source: Document) -> Iterator[Cause]:
    first, *further = source
    for name in further:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 volume type")
    settings = source[first]
    for name, key in _NEEDED:
        if name == first and not settings.get(key):
            yield required(f"{path}.{name}.{key}")
    yield from in_mode(f"{path}.{first}.defaultMode", settings.get("defaultMode"))
    for index, item in enumerate(settings.get("items", ()) if first in ("secret", "configMap") else ()):
        yield from _item(f"{path}.{first}.items[{index}]", item)
    if first == "csi" and settings.get("driver"):
        yield from checked(f"{path}.csi.driver", settings["driver"].lower(), dns_subdomain)
    if first == "hostPath":
        yield from supported(f"{path}.hostPath.type", settings.get("type", ""), *_HOST_PATHS)
    if first == "downwardAPI":
        yield from _downward(f"{path}.downwardAPI", settings)
    if first == "projected":
        yield from _projected(f"{path}.projected", settings)
    if first == "ephemeral" and "volumeClaimTemplate" in settings:
        yield from claim_spec(f"{path}.ephemeral.volumeClaimTemplate.spec", settings["volumeClaimTemplate"]["spec"])


def in_mode(path: str, mode: int | None) -> Iterator[Cause]:
    """Yield the cause where file permissions are out of range."""
    if mode is not None and not 0 <= mode <= _MOST_MODE:
        yield invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def _item(path: str, item: Document) -> Iterator[Cause]:
    for name in ("key", "path"):
        if not item.get(name):
            yield required(f"{path}.{name}")
    yield from _inside(f"{path}.path", item.get("path", ""))
    yield from in_mode(f"{path}.mode", item.get("mode"))


def _inside(path: str, text: str) -> Iterator[Cause]:
    if text.startswith("/"):
        yield invalid(path, text, "must be a relative path")
    if ".." in text.split("/"):
        yield invalid(path, text, "must not contain '..'")
    elif text.startswith(".."):
        yield invalid(path, text, "must not start with '..'")


def _downward(path: str, settings: Document) -> Iterator[Cause]:
    for index, item in enumerate(settings.get("items", ())):
        where = f"{path}.items[{index}]" if "items" in settings else path
        if not item.get("path"):
            yield required(f"{where}.path")
        yield from _inside(f"{where}.path", item.get("path", ""))
        if "fieldRef" in item:
            yield from field_reference(f"{where}.fieldRef", item["fieldRef"])
        elif "resourceFieldRef" in item:
            yield from resource_reference(f"{where}.resourceFieldRef", item["resourceFieldRef"])
        else:
            yield required(where, "one of fieldRef and resourceFieldRef is required")


def _projected(path: str, settings: Document) -> Iterator[Cause]:
    for index, source in enumerate(settings.get("sources", ())):
        where = f"{path}.sources[{index}]"
        for name in list(source)[1:]:
            yield forbidden(f"{where}.{name}", "may not specify more than 1 volume type per source")
        for name in ("secret", "configMap"):
            if name in source:
                if not source[name].get("name"):
                    yield required(f"{where}.{name}.name")
                for at, item in enumerate(source[name].get("items", ())):
                    yield from _item(f"{where}.{name}.items[{at}]", item)
        if "downwardAPI" in source:
            yield from _downward(f"{where}.downwardAPI", source["downwardAPI"])
        if "serviceAccountToken" in source:
            yield from _token(f"{where}.serviceAccountToken", f"{path}.path", source["serviceAccountToken"])


def _token(path: str, file: str, token: Document) -> Iterator[Cause]:
    seconds = token["expirationSeconds"]
    if seconds < _SHORTEST_TOKEN:
        yield invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    yield from in_range(f"{path}.expirationSeconds", max(seconds, 0), 0, _LONGEST_TOKEN)
    if not token.get("path"):
        yield required(file)
    yield from _inside(file, token.get("path", ""))
