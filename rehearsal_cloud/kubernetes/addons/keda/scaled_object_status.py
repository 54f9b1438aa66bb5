"""The status of a ScaledObject: its four conditions, and the health of its triggers, with KEDA's messages.

https://github.com/kedacore/keda/blob/main/apis/keda/v1alpha1/condition_types.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_TYPES = ("Ready", "Active", "Fallback", "Paused")
_ACTIVE = {
    "True": ("True", "ScalerActive", "Scaling is performed because triggers are active"),
    "False": ("False", "ScalerNotActive", "Scaling is not performed because triggers are not active"),
    "Cooling": ("False", "ScalerCooldown", "Scaler cooling down because triggers are not active"),
}


def state(status: Document, kind: str) -> str:
    """Return a condition's state: True, False or Unknown."""
    conditions = status.get("conditions") or ()
    return next((condition["status"] for condition in conditions if condition["type"] == kind), "Unknown")


def ready(status: Document) -> Document:
    """Return the status of a valid ScaledObject; the conditions of its triggers stay."""
    if state(status, "Ready") == "False" and _reason(status, "Ready") == "TriggerError":
        return status
    text = "ScaledObject is defined correctly and is ready for scaling"
    return _set(status, "Ready", "True", "ScaledObjectReady", text)


def failed(status: Document, message: str) -> Document:
    """Return the status of an invalid ScaledObject."""
    status = _set(status, "Ready", "False", "ScaledObjectCheckFailed", message)
    return _set(status, "Active", "Unknown", "UnknownState", "ScaledObject check failed")


def triggered(status: Document, *, failed: bool) -> Document:
    """Return the status after a measurement of the triggers."""
    status = _set(status, "Fallback", "False", "NoFallbackFound", "No fallbacks are active on this scaled object")
    if failed:
        text = "Triggers defined in ScaledObject are not working correctly"
        return _set(status, "Ready", "False", "TriggerError", text)
    text = "ScaledObject is defined correctly and is ready for scaling"
    return _set(status, "Ready", "True", "ScaledObjectReady", text)


def active(status: Document, how: str) -> Document:
    """Return the status with the Active condition: True, False, or Cooling."""
    return _set(status, "Active", *_ACTIVE[how])


def paused(status: Document, *, paused: bool, replicas: str | None) -> Document:
    """Return the status of a paused or resumed ScaledObject."""
    status = {key: value for key, value in status.items() if key != "pausedReplicaCount"}
    if not paused:
        return _set(status, "Paused", "False", "ScaledObjectUnpaused", "pause annotation removed for ScaledObject")
    status |= {"pausedReplicaCount": int(replicas)} if replicas is not None else {}
    return _set(status, "Paused", "True", "ScaledObjectPaused", "ScaledObject is paused")


def healthy(status: Document, metric: str) -> Document:
    """Return the status with the trigger's health restored."""
    return {**status, "health": {**(status.get("health") or {}), metric: {"numberOfFailures": 0, "status": "Happy"}}}


def unhealthy(status: Document, metric: str) -> Document:
    """Return the status with one more failure of the trigger."""
    health = status.get("health") or {}
    failures = (health.get(metric) or {}).get("numberOfFailures", 0) + 1
    return {**status, "health": {**health, metric: {"numberOfFailures": failures, "status": "Failing"}}}


def _reason(status: Document, kind: str) -> str:
    return next(
        (condition.get("reason", "") for condition in status.get("conditions") or () if condition["type"] == kind), ""
    )


def _set(status: Document, kind: str, value: str, reason: str, message: str) -> Document:
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    conditions = {kind_: conditions.get(kind_) or {"type": kind_, "status": "Unknown"} for kind_ in _TYPES}
    conditions[kind] = {"type": kind, "status": value, "reason": reason, "message": message}
    return {**status, "conditions": list(conditions.values())}
