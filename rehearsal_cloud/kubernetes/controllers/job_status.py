"""The status of a Job: the outcomes of its pods, its own outcome and reason, and its number of running pods.

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
    """The outcome of a Job: the condition, the reason and the message."""

    succeeded: bool
    reason: str
    message: str


def ended(job: Document) -> str:
    """Return the time at which the Job ended, or "" while it runs."""
    for kind in ("Complete", "Failed"):
        ending = condition(job, kind)
        if ending is not None and ending["status"] == "True":
            return str(ending["lastTransitionTime"])
    return ""


def outcome(job: Document, pod: Document) -> str:
    """Return `succeeded` or `failed` for an ended pod, else ""; a pod being deleted has failed."""
    phase = pods.phase(pod)
    if phase in ("Succeeded", "Failed"):
        return phase.lower()
    failed_only = job["spec"].get("podReplacementPolicy") == "Failed"
    return "failed" if pods.is_terminating(pod) and not failed_only and not job["spec"].get("suspend") else ""


def ended_at(pod: Document) -> str:
    """Return the time at which the last of the pod's containers ended."""
    states = [
        container_status.get("state") or {}
        for container_status in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    ends = [state["terminated"]["finishedAt"] for state in states if (state.get("terminated") or {}).get("finishedAt")]
    metadata = pod["metadata"]
    return str(max(ends, default=metadata.get("deletionTimestamp") or metadata["creationTimestamp"]))


def verdict(job: Document, owned: list[Document]) -> Verdict | None:
    """Return the outcome of the Job, or None while it may continue."""
    for kind in ("FailureTarget", "SuccessCriteriaMet"):
        target = condition(job, kind)
        if target is not None:
            return Verdict(kind == "SuccessCriteriaMet", target["reason"], target["message"])
    spec, status = job["spec"], job.get("status") or {}
    limit = spec.get("backoffLimit", 6)
    if status.get("failed", 0) > limit or _restarted_too_often(spec, owned, limit):
        return Verdict(False, "BackoffLimitExceeded", "Job has reached the specified backoff limit")  # noqa: FBT003 - a fact
    remaining = seconds_left(job)
    if remaining is not None and remaining <= 0 and not spec.get("suspend"):
        return Verdict(False, "DeadlineExceeded", "Job was active longer than specified deadline")  # noqa: FBT003 - a fact
    succeeded = status.get("succeeded", 0)
    completions = spec.get("completions")
    complete = succeeded > 0 and not status.get("active") if completions is None else succeeded >= completions
    return Verdict(True, "CompletionsReached", "Reached expected number of succeeded pods") if complete else None  # noqa: FBT003 - a fact


def _restarted_too_often(spec: Document, owned: list[Document], limit: int) -> bool:
    if spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(pods.restarts(pod) for pod in owned if pods.phase(pod) in ("Pending", "Running"))
    return restarts > 0 if limit == 0 else restarts >= limit


def desired_active(job: Document, active: int) -> int:
    """Return how many pods the job should have running."""
    spec, succeeded = job["spec"], (job.get("status") or {}).get("succeeded", 0)
    parallelism: int = spec.get("parallelism", 1)
    if spec.get("completions") is None:
        return min(active, parallelism) if succeeded else parallelism
    return int(max(0, min(spec["completions"] - succeeded, parallelism)))


def seconds_left(job: Document) -> float | None:
    """Return the seconds left until the Job's deadline, or None without a deadline."""
    deadline = job["spec"].get("activeDeadlineSeconds")
    started = (job.get("status") or {}).get("startTime")
    return None if deadline is None or not started else deadline - seconds_since(started)


def with_condition(status: Document, kind: str, state: str, reason: str, message: str) -> Document:
    """Return the status with the condition."""
    conditions = status.get("conditions") or []
    if any(condition["type"] == kind and condition["status"] == state for condition in conditions):
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
    return {**status, "conditions": [*(condition for condition in conditions if condition["type"] != kind), fresh]}
