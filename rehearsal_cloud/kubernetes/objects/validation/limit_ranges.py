"""Rules of limit ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation.causes import duplicate, forbidden, invalid, required
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

# The lesser and the greater field with their names, and the field that the message is about.
_ORDER = (
    ("min", "min value", "max", "max value", "min", "min"),
    ("min", "min value", "defaultRequest", "default request value", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default request value", "max", "max value", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default request value", "default", "default limit value", "defaultRequest", "defaultRequest"),
    ("min", "min value", "default", "default value", "default", "min"),
    ("default", "default value", "max", "max value", "default", "max"),
)
_RATIO = "maxLimitRequestRatio"


def limit_range(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a limit range (ValidateLimitRange in pkg/apis/core/validation/validation.go)."""
    kinds: list[str] = []
    for index, limit in enumerate(document["spec"]["limits"]):
        path, kind = f"spec.limits[{index}]", limit["type"]
        if kind in kinds:
            yield duplicate(f"{path}.type", kind)
        kinds.append(kind)
        if kind == "Pod":
            for field in ("default", "defaultRequest"):
                if limit.get(field):
                    yield forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
        if kind == "PersistentVolumeClaim" and not any("storage" in (limit.get(key) or {}) for key in ("min", "max")):
            text = "either minimum or maximum storage value is required, but neither was provided"
            yield required(f"{path}.limits", text)
        yield from _amounts(path, limit)


def _amounts(path: str, limit: Document) -> Iterator[Cause]:
    for lesser, lesser_name, greater, greater_name, about, shown in _ORDER:
        least, most = limit.get(lesser) or {}, limit.get(greater) or {}
        for name in least.keys() & most.keys():
            if amount(least[name]) > amount(most[name]):
                text = f"{lesser_name} {least[name]} is greater than {greater_name} {most[name]}"
                yield invalid(f"{path}.{about}[{name}]", limit[shown][name], text)
    for name, ratio in (limit.get(_RATIO) or {}).items():
        if amount(ratio) < 1:
            yield invalid(f"{path}.{_RATIO}[{name}]", ratio, f"ratio {ratio} is less than 1")
