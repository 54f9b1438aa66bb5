"""What a Job's status says: how its pods ended, whether the job is to end and why, and how many pods it wants.

https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/job/job_controller.go
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.controllers import pods
from rehearsal_cloud.kubernetes.controllers.pods import condition
from rehearsal_cloud.kubernetes.controllers.timestamps import seconds_since, stamp

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

__all__ = ["FINALIZER", "Verdict", "condition"]

FINALIZER = "batch.kubernetes.io/job-tracking"


@dataclass(frozen=True)
class Verdict:
    """How a job is to end, and why."""

    succeeded: bool
    reason: str
    message: str


def ended(job: Document) -> str:
    """Return when the job ended, or nothing while it runs."""
    for kind in ("Complete", "Failed"):
        found = condition(job, kind)
        if found is not None and found["status"] == "True":
            return str(found["lastTransitionTime"])
    return ""


def outcome(job: Document, pod: Document) -> str:
    """Return `succeeded` or `failed` for a pod that is over, else nothing; one being deleted has failed."""
    phase = pods.phase(pod)
    if phase in ("Succeeded", "Failed"):
        return phase.lower()
    failed_only = job["spec"].get("podReplacementPolicy") == "Failed"
    return "failed" if pods.is_terminating(pod) and not failed_only and not job["spec"].get("suspend") else ""


def ended_at(pod: Document) -> str:
    """Return when the last of the pod's containers ended."""
    states = [one.get("state") or {} for one in (pod.get("status") or {}).get("containerStatuses") or ()]
    ends = [one["terminated"]["finishedAt"] for one in states if (one.get("terminated") or {}).get("finishedAt")]
    metadata = pod["metadata"]
    return str(max(ends, default=metadata.get("deletionTimestamp") or metadata["creationTimestamp"]))


def verdict(job: Document, owned: list[Document]) -> Verdict | None:
    """Return how the job is to end, or None while it may go on."""
    for kind in ("FailureTarget", "SuccessCriteriaMet"):
        known = condition(job, kind)
        if known is not None:
            return Verdict(kind == "SuccessCriteriaMet", known["reason"], known["message"])
    spec, status = job["spec"], job.get("status") or {}
    limit = spec.get("backoffLimit", 6)
    if status.get("failed", 0) > limit or _restarted_too_often(spec, owned, limit):
        return Verdict(False, "BackoffLimitExceeded", "Job has reached the specified backoff limit")  # noqa: FBT003 - a fact
    left = seconds_left(job)
    if left is not None and left <= 0 and not spec.get("suspend"):
        return Verdict(False, "DeadlineExceeded", "Job was active longer than specified deadline")  # noqa: FBT003 - a fact
    done = status.get("succeeded", 0)
    completions = spec.get("completions")
    complete = done > 0 and not status.get("active") if completions is None else done >= completions
    return Verdict(True, "CompletionsReached", "Reached expected number of succeeded pods") if complete else None  # noqa: FBT003 - a fact


def _restarted_too_often(spec: Document, owned: list[Document], limit: int) -> bool:
    if spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(pods.restarts(pod) for pod in owned if pods.phase(pod) in ("Pending", "Running"))
    return restarts > 0 if limit == 0 else restarts >= limit


def wanted(job: Document, active: int) -> int:
    """Return how many pods the job should have running."""
    spec, done = job["spec"], (job.get("status") or {}).get("succeeded", 0)
    parallelism: int = spec.get("parallelism", 1)
    if spec.get("completions") is None:
        return min(active, parallelism) if done else parallelism
    return int(max(0, min(spec["completions"] - done, parallelism)))


def seconds_left(job: Document) -> float | None:
    """Return how long the job may be active yet, or None where it has no deadline."""
    deadline = job["spec"].get("activeDeadlineSeconds")
    started = (job.get("status") or {}).get("startTime")
    return None if deadline is None or not started else deadline - seconds_since(started)


def with_condition(status: Document, kind: str, state: str, reason: str, message: str) -> Document:
    """Return the status with the condition."""
    conditions = status.get("conditions") or []
    if any(one["type"] == kind and one["status"] == state for one in conditions):
        return status
    now = stamp()
    fresh = {
        "type": kind,
        "status": state,
        "lastProbeTime": now,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
    return {**status, "conditions": [*(one for one in conditions if one["type"] != kind), fresh]}
