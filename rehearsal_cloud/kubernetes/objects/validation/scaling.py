"""Rules of disruption budgets and autoscalers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects.validation.causes import forbidden, invalid, not_negative, required
from rehearsal_cloud.kubernetes.objects.validation.names import percent, selector, supported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_WHOLE = 100
_METRICS = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}


def pod_disruption_budget(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a disruption budget."""
    spec = document["spec"]
    if "minAvailable" in spec and "maxUnavailable" in spec:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for name in ("minAvailable", "maxUnavailable"):
        if name in spec:
            yield from share(f"spec.{name}", spec[name])
    yield from selector("spec.selector", spec.get("selector", {}))


def share(path: str, value: int | str) -> Iterator[Cause]:
    """Yield the validation errors of a number or a percentage of pods."""
    if isinstance(value, int):
        yield from not_negative(path, value)
        return
    wrong = percent(value)
    yield from (invalid(path, value, text) for text in wrong)
    if not wrong and int(value.removesuffix("%")) > _WHOLE:
        yield invalid(path, value, "must not be greater than 100%")


def horizontal_pod_autoscaler(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of an autoscaler."""
    spec = document["spec"]
    least, most = spec["minReplicas"], spec.get("maxReplicas", 0)
    scales_to_zero = any(metric.get("type") in ("Object", "External") for metric in spec["metrics"])
    if least < (0 if scales_to_zero else 1):
        floor = 0 if scales_to_zero else 1
        yield invalid("spec.minReplicas", least, f"must be greater than or equal to {floor}")
    if most < 1:
        yield invalid("spec.maxReplicas", most, "must be greater than 0")
    if most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    for name in ("kind", "name"):
        if not spec.get("scaleTargetRef", {}).get(name):
            yield required(f"spec.scaleTargetRef.{name}")
    for index, metric in enumerate(spec["metrics"]):
        yield from _metric(f"spec.metrics[{index}]", metric)
    if least == 0 and not scales_to_zero:
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        yield forbidden("spec.metrics", text)


def _metric(path: str, metric: Document) -> Iterator[Cause]:
    type_: Any = metric.get("type")
    if type_ not in _METRICS:
        yield from supported(f"{path}.type", type_, *_METRICS) if type_ else [required(f"{path}.type")]
    elif _METRICS[type_] not in metric:
        yield required(f"{path}.{_METRICS[type_]}", "must populate information for the given metric source")
    elif metric[_METRICS[type_]].get("target", {}).get("averageUtilization", 1) < 1:
        target = f"{path}.{_METRICS[type_]}.target.averageUtilization"
        yield invalid(target, metric[_METRICS[type_]]["target"]["averageUtilization"], "must be greater than 0")
