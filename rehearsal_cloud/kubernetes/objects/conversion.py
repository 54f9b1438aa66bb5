"""Conversion between the versions of a kind: the one that is stored, and the one of a request's path.

After pkg/apis/events/v1/conversion.go and pkg/apis/autoscaling/v1/conversion.go of
https://github.com/kubernetes/kubernetes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.kinds import Kind

EVENTS = "events.k8s.io/v1"
_EVENT_FIELDS = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_OLD_EVENT_FIELDS = {old: new for new, old in _EVENT_FIELDS.items()}
_AUTOSCALER = "autoscaling/v1"
_ANNOTATION = "autoscaling.alpha.kubernetes.io/"
# What autoscaling/v1 has no field for is an annotation: here as v2 writes it, where the server has forms of its own.
_ANNOTATED = (
    ("spec", "metrics", "metrics"),
    ("spec", "behavior", "behavior"),
    ("status", "currentMetrics", "current-metrics"),
    ("status", "conditions", "conditions"),
)


def stored(document: Document) -> Document:
    """Return a decoded object of any served version as it is stored."""
    match document["apiVersion"], document["kind"]:
        case ("events.k8s.io/v1", "Event"):
            return {_EVENT_FIELDS.get(key, key): value for key, value in document.items()} | {"apiVersion": "v1"}
        case ("autoscaling/v1", "HorizontalPodAutoscaler"):
            return _to_v2(document)
    return document


def served(kind: Kind, document: Document) -> Document:
    """Return a stored object in the version of a path."""
    if document["apiVersion"] == kind.api_version:
        return document
    if kind.api_version == _AUTOSCALER:
        return _to_v1(document)
    fields = _OLD_EVENT_FIELDS if kind.api_version == EVENTS else {}
    return {fields.get(key, key): value for key, value in document.items()} | {"apiVersion": kind.api_version}


def _to_v2(autoscaler: Document) -> Document:
    parts = {part: dict(autoscaler.get(part) or {}) for part in ("spec", "status")}
    annotations = dict(autoscaler["metadata"].get("annotations") or {})
    for part, field, name in _ANNOTATED:
        if text := annotations.pop(_ANNOTATION + name, ""):
            parts[part][field] = json.loads(text)
    percent = parts["spec"].pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        parts["spec"]["metrics"] = [*parts["spec"].get("metrics", ()), _cpu(percent)]
    parts["status"].pop("currentCPUUtilizationPercentage", None)
    metadata = {**autoscaler["metadata"], "annotations": annotations}
    return {**autoscaler, "apiVersion": "autoscaling/v2", "metadata": metadata, **parts}


def _to_v1(autoscaler: Document) -> Document:
    parts = {part: dict(autoscaler.get(part) or {}) for part in ("spec", "status")}
    metrics = parts["spec"].get("metrics") or []
    percents = [
        percent
        for metric in metrics
        if (percent := metric.get("resource", {}).get("target", {}).get("averageUtilization"))
        and metric == _cpu(percent)
    ]
    if percents:
        parts["spec"]["targetCPUUtilizationPercentage"] = percents[0]
        parts["spec"]["metrics"] = [metric for metric in metrics if metric != _cpu(percents[0])]
    values = {name: parts[part].pop(field, None) for part, field, name in _ANNOTATED}
    annotations = {
        **(autoscaler["metadata"].get("annotations") or {}),
        **{_ANNOTATION + name: json.dumps(value, separators=(",", ":")) for name, value in values.items() if value},
    }
    metadata = {**autoscaler["metadata"], **({"annotations": annotations} if annotations else {})}
    return {**autoscaler, "apiVersion": _AUTOSCALER, "metadata": metadata, **parts}


def _cpu(percent: int) -> Document:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}
