"""Rules of volumes, claims, storage classes and CSI drivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects.validation.causes import (
    forbidden,
    invalid,
    not_supported,
    one_of,
    required,
    unchanged,
)
from rehearsal_cloud.kubernetes.objects.validation.names import checked, dns_subdomain, selector, supported
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_FIELDS = frozenset(
    {
        "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
        "storageClassName", "volumeAttributesClassName", "volumeMode",
    }
)  # fmt: skip


def persistent_volume_claim(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a claim."""
    yield from claim_spec("spec", document["spec"])
    if old:
        yield from _updated_claim(document, old)


def claim_spec(path: str, spec: Document) -> Iterator[Cause]:
    """Yield the validation errors of the spec of a claim, or of a template of claims."""
    yield from selector(f"{path}.selector", spec.get("selector", {}))
    yield from _modes(path, spec, "at least 1 access mode is required")
    yield from _size(f"{path}.resources[storage]", spec.get("resources", {}).get("requests", {}).get("storage"))
    if spec.get("storageClassName"):
        yield from checked(f"{path}.storageClassName", spec["storageClassName"], dns_subdomain)
    yield from one_of(f"{path}.volumeMode", spec.get("volumeMode"), ("Block", "Filesystem"))


def persistent_volume(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a volume."""
    spec = document["spec"]
    yield from _modes("spec", spec)
    capacity = spec.get("capacity", {})
    if not capacity:
        yield required("spec.capacity")
    if "storage" not in capacity:
        yield not_supported("spec.capacity", capacity or None, ["storage"])
    else:
        yield from _size("spec.capacity[storage]", capacity["storage"])
    policies = ("Delete", "Recycle", "Retain")
    yield from one_of("spec.persistentVolumeReclaimPolicy", spec.get("persistentVolumeReclaimPolicy"), policies)
    sources = [name for name in spec if name not in _VOLUME_FIELDS]
    if not sources:
        yield required("spec", "must specify a volume type")
    for name in sources[1:]:
        yield forbidden(f"spec.{name}", "may not specify more than 1 volume type")
    if sources[:1] == ["csi"]:
        for name in ("driver", "volumeHandle"):
            if not spec["csi"].get(name):
                yield required(f"spec.csi.{name}")
    if old and _source(spec) != _source(old["spec"]):
        text = "spec.persistentvolumesource is immutable after creation"
        yield forbidden("spec.persistentvolumesource", text)


def storage_class(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a storage class."""
    if not document.get("provisioner"):
        yield required("provisioner")
    yield from supported("reclaimPolicy", document["reclaimPolicy"], "Delete", "Retain")
    yield from supported("volumeBindingMode", document["volumeBindingMode"], "Immediate", "WaitForFirstConsumer")
    if old:
        yield from unchanged("provisioner", document.get("provisioner"), old.get("provisioner"))
        for name, empty in (("parameters", {}), ("reclaimPolicy", "")):
            if document.get(name, empty) != old.get(name, empty):
                yield forbidden(name, f"updates to {name} are forbidden.")
        yield from unchanged("volumeBindingMode", document["volumeBindingMode"], old["volumeBindingMode"])


def csi_driver(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a CSI driver."""
    if old:
        for name in ("attachRequired", "volumeLifecycleModes"):
            yield from unchanged(f"spec.{name}", document["spec"].get(name), old["spec"].get(name))


def _modes(path: str, spec: Document, needed: str = "") -> Iterator[Cause]:
    modes = spec.get("accessModes", [])
    if not modes:
        yield required(f"{path}.accessModes", needed)
    for mode in modes:
        yield from supported(f"{path}.accessModes", mode, *_ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield forbidden(f"{path}.accessModes", "may not use ReadWriteOncePod with other access modes")


def _size(path: str, size: Any) -> Iterator[Cause]:
    if size is None:
        yield required(path)
    elif amount(size) <= 0:
        yield invalid(path, size, "must be greater than zero")


def _source(spec: Document) -> Document:
    return {name: value for name, value in spec.items() if name not in _VOLUME_FIELDS}


def _updated_claim(document: Document, old: Document) -> Iterator[Cause]:
    new, kept = document["spec"], old["spec"]
    bound = document.get("status", {}).get("phase") == "Bound"
    # The binder names the volume, and a bound claim may grow.
    free = {"volumeName"} if not kept.get("volumeName") else set()
    free |= {"resources"} if bound else set()
    free |= {"storageClassName"} if "storageClassName" not in kept and _by_default_class(new, old) else set()
    if any(new.get(name) != kept.get(name) for name in {*new, *kept} - free):
        text = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        yield forbidden("spec", text)
    size, before = (version.get("resources", {}).get("requests", {}).get("storage", "0") for version in (new, kept))
    if amount(size) < min(amount(before), amount(old.get("status", {}).get("capacity", {}).get("storage", before))):
        yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _by_default_class(new: Document, old: Document) -> bool:
    """Tell whether the update sets the class of a claim without one: the controller does so for a later class."""
    return bool(new.get("storageClassName")) and old.get("status", {}).get("phase") == "Pending"
