"""The status of a Deployment: counts, and the conditions Available, Progressing and ReplicaFailure.

https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/deployment/progress.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.controllers.pods import condition
from rehearsal_cloud.kubernetes.controllers.rollout import counted, limits, requested
from rehearsal_cloud.kubernetes.controllers.timestamps import seconds_since, stamp

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

PROGRESSING = "Progressing"
_AVAILABLE = "NewReplicaSetAvailable"
_EXCEEDED = "ProgressDeadlineExceeded"
_NO_DEADLINE = 2**31 - 1


def has_deadline(deployment: Document) -> bool:
    """Tell whether the Deployment has a progress deadline."""
    seconds = deployment["spec"].get("progressDeadlineSeconds")
    return seconds is not None and seconds != _NO_DEADLINE


def counts(deployment: Document, everyone: list[Document], new: Document | None) -> Document:
    """Return the status with its counts and the Available condition brought up to date."""
    before = deployment.get("status") or {}
    available = counted(everyone, "availableReplicas")
    status = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": counted(everyone, "replicas"),
        "updatedReplicas": counted([new] if new else [], "replicas"),
        "readyReplicas": counted(everyone, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, requested(everyone) - available),
    }
    status = {key: value for key, value in status.items() if value}
    status["terminatingReplicas"] = counted(everyone, "terminatingReplicas")
    status |= {key: before[key] for key in ("collisionCount", "conditions") if before.get(key)}
    _, unavailable = limits(deployment)
    if available >= deployment["spec"]["replicas"] - unavailable:
        text = "Deployment has minimum availability."
        return with_condition(status, "Available", "True", "MinimumReplicasAvailable", text)
    text = "Deployment does not have minimum availability."
    return with_condition(status, "Available", "False", "MinimumReplicasUnavailable", text)


def with_condition(status: Document, kind: str, state: str, reason: str, message: str) -> Document:
    """Return the status with the condition; a condition with this state and reason stays as it is."""
    conditions = status.get("conditions") or []
    before = next((condition for condition in conditions if condition["type"] == kind), None)
    if before is not None and (before["status"], before["reason"]) == (state, reason):
        return status
    now = stamp()
    since = before["lastTransitionTime"] if before is not None and before["status"] == state else now
    fresh = {
        "type": kind,
        "status": state,
        "lastUpdateTime": now,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }
    return {**status, "conditions": [*(condition for condition in conditions if condition["type"] != kind), fresh]}


def without_condition(status: Document, kind: str) -> Document:
    """Return the status without the condition."""
    conditions = [condition for condition in status.get("conditions") or () if condition["type"] != kind]
    return {**{key: value for key, value in status.items() if key != "conditions"}, "conditions": conditions}


def is_complete(deployment: Document, status: Document) -> bool:
    """Tell whether all replicas are updated and available, and no old ones are left."""
    replicas = deployment["spec"]["replicas"]
    return all(status.get(key, 0) == replicas for key in ("updatedReplicas", "replicas", "availableReplicas"))


def rolled_out(deployment: Document, everyone: list[Document], new: Document | None) -> Document:
    """Return the status of a Deployment during a roll-out, with its Progressing condition."""
    status = counts(deployment, everyone, new)
    current = condition(deployment, PROGRESSING)
    if not has_deadline(deployment):
        status = without_condition(status, PROGRESSING)
    elif not (
        status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and current is not None
        and current["reason"] == _AVAILABLE
    ):
        status = _progressed(deployment, status, new, current)
    failures = [
        replica_set
        for replica_set in (new, *everyone)
        if replica_set is not None and condition(replica_set, "ReplicaFailure")
    ]
    status = without_condition(status, "ReplicaFailure")
    if failures:
        failed = condition(failures[0], "ReplicaFailure") or {}
        own = condition(deployment, "ReplicaFailure")
        kept = own if own and own["reason"] == failed["reason"] else None
        base = {**status, "conditions": [*status["conditions"], kept]} if kept else status
        status = with_condition(base, "ReplicaFailure", failed["status"], failed["reason"], failed["message"])
    return status


def _progressed(deployment: Document, status: Document, new: Document | None, current: Document | None) -> Document:
    subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{deployment["metadata"]["name"]}"'
    if is_complete(deployment, status):
        return with_condition(status, PROGRESSING, "True", _AVAILABLE, f"{subject} has successfully progressed.")
    if _moved(deployment.get("status") or {}, status):
        fresh = without_condition(status, PROGRESSING)
        fresh = with_condition(fresh, PROGRESSING, "True", "ReplicaSetUpdated", f"{subject} is progressing.")
        if current is not None and current["status"] == "True":
            fresh["conditions"][-1]["lastTransitionTime"] = current["lastTransitionTime"]
        return fresh
    if is_overdue(deployment):
        return with_condition(status, PROGRESSING, "False", _EXCEEDED, f"{subject} has timed out progressing.")
    return status


def _moved(before: Document, after: Document) -> bool:
    def old(status: Document) -> int:
        return int(status.get("replicas", 0) - status.get("updatedReplicas", 0))

    return old(after) < old(before) or any(
        after.get(key, 0) > before.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def is_overdue(deployment: Document) -> bool:
    """Tell whether the roll-out has made no progress for longer than its deadline."""
    remaining = seconds_left(deployment)
    return remaining is not None and remaining < 0


def seconds_left(deployment: Document) -> float | None:
    """Return the seconds left until the progress deadline, negative when overdue; None without a deadline."""
    current = condition(deployment, PROGRESSING)
    if not has_deadline(deployment) or current is None or current["reason"] == _AVAILABLE:
        return None
    if current["reason"] == _EXCEEDED:
        return -1.0
    deadline: int = deployment["spec"]["progressDeadlineSeconds"]
    return deadline - seconds_since(current["lastUpdateTime"])


def paused_or_resumed(deployment: Document) -> Document:
    """Return the status with the Progressing condition of a paused or resumed Deployment."""
    status: Document = deployment.get("status") or {}
    current = condition(deployment, PROGRESSING)
    if not has_deadline(deployment) or (current is not None and current["reason"] == _EXCEEDED):
        return status
    remembered = current is not None and current["reason"] == "DeploymentPaused"
    paused = bool(deployment["spec"].get("paused"))
    if paused and not remembered:
        return with_condition(status, PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused")
    if remembered and not paused:
        return with_condition(status, PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed")
    return status
