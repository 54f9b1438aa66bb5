"""Table rows of workloads: their names, counts and progress.

After https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.api.tables.cells import (
    NONE,
    UNKNOWN,
    UNSET,
    age,
    between,
    containers,
    created,
    labels,
    selector,
)

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_METRICS = 2
"""The metrics of an autoscaler that its row shows."""


def deployment(document: Document) -> list[Any]:
    """Return ready, up-to-date, available, age; containers, images, selector."""
    spec, status = document["spec"], document.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    counts = [ready, status.get("updatedReplicas", 0), status.get("availableReplicas", 0), created(document)]
    return [*counts, *containers(spec["template"]["spec"]), selector(spec.get("selector"))]


def replica_set(document: Document) -> list[Any]:
    """Return desired, current, ready, age; containers, images, selector."""
    spec, status = document["spec"], document.get("status") or {}
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0), created(document)]
    chosen = spec.get("selector")
    shown = labels(chosen) if document["kind"] == "ReplicationController" else selector(chosen)
    return [*counts, *containers(spec["template"]["spec"]), shown]


def stateful_set(document: Document) -> list[Any]:
    """Return ready, age; containers, images."""
    spec, status = document["spec"], document.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [ready, created(document), *containers(spec["template"]["spec"])]


def daemon_set(document: Document) -> list[Any]:
    """Return the five counts, node selector, age; containers, images, selector."""
    spec, status = document["spec"], document.get("status") or {}
    names = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    pod = spec["template"]["spec"]
    counts = [*(status.get(name, 0) for name in names), status.get("numberAvailable", 0)]
    return [*counts, labels(pod.get("nodeSelector")), created(document), *containers(pod), selector(spec["selector"])]


def controller_revision(document: Document) -> list[Any]:
    """Return controller, revision, age."""
    owner = next((ref for ref in document["metadata"].get("ownerReferences") or [] if ref.get("controller")), None)
    shown = NONE
    if owner:
        group = owner["apiVersion"].rpartition("/")[0]
        shown = f"{owner['kind'].lower()}.{group}/{owner['name']}" if group else f"{owner['kind']}/{owner['name']}"
    return [shown, document["revision"], created(document)]


def job(document: Document) -> list[Any]:
    """Return status, completions, duration, age; containers, images, selector."""
    spec, status = document["spec"], document.get("status") or {}
    done, completions, parallel = status.get("succeeded", 0), spec.get("completions"), spec.get("parallelism", 1)
    target = completions if completions is not None else (f"1 of {parallel}" if parallel > 1 else 1)
    start, end = status.get("startTime"), status.get("completionTime")
    lasted = (between(start, end) if end else age(start)) if start else ""
    pod = spec["template"]["spec"]
    shown = [_job_status(document), f"{done}/{target}", lasted, created(document)]
    return [*shown, *containers(pod), selector(spec.get("selector"))]


def _job_status(document: Document) -> str:
    conditions = (document.get("status") or {}).get("conditions") or []
    true = {condition["type"] for condition in conditions if condition["status"] == "True"}
    if "Complete" in true or "Failed" in true:
        return "Complete" if "Complete" in true else "Failed"
    if document["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((kind for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if kind in true), "Running")


def cron_job(document: Document) -> list[Any]:
    """Return schedule, time zone, suspended, active, last schedule, age; containers, images, selector."""
    spec, status = document["spec"], document.get("status") or {}
    last = age(status["lastScheduleTime"]) if status.get("lastScheduleTime") else NONE
    job = spec["jobTemplate"]["spec"]
    schedule = [spec["schedule"], spec.get("timeZone") or NONE, bool(spec.get("suspend"))]
    return [
        *schedule,
        len(status.get("active") or []),
        last,
        created(document),
        *containers(job["template"]["spec"]),
        selector(job.get("selector")),
    ]


def autoscaler(document: Document) -> list[Any]:
    """Return reference, targets, minimum, maximum, replicas, age."""
    spec, status = document["spec"], document.get("status") or {}
    target = spec["scaleTargetRef"]
    current = status.get("currentMetrics") or []
    metrics: list[Document] = spec.get("metrics") or []
    shown = [_metric(metric, now or {}) for metric, now in zip_longest(metrics, current[: len(metrics)])]
    more = f" + {len(shown) - _METRICS} more..." if len(shown) > _METRICS else ""
    replicas = [str(spec.get("minReplicas", UNSET)), spec["maxReplicas"], status.get("currentReplicas", 0)]
    targets = ", ".join(shown[:_METRICS]) + more
    return [f"{target['kind']}/{target['name']}", targets or NONE, *replicas, created(document)]


def _metric(metric: Document, current: Document) -> str:
    kind = metric["type"][:1].lower() + metric["type"][1:]
    target = metric[kind]["target"]
    now = (current.get(kind) or {}).get("current") or {}
    prefix = f"{metric[kind]['name']}: " if kind in ("resource", "containerResource") else ""
    if target.get("averageUtilization") is not None:
        used = f"{now['averageUtilization']}%" if "averageUtilization" in now else UNKNOWN
        return f"{prefix}{used}/{target['averageUtilization']}%"
    if target.get("averageValue") is not None:
        average = " (avg)" if kind in ("external", "object") else ""
        return f"{prefix}{now.get('averageValue', UNKNOWN)}/{target['averageValue']}{average}"
    return f"{prefix}{now.get('value', UNKNOWN)}/{target.get('value')}"


def budget(document: Document) -> list[Any]:
    """Return minimum available, maximum unavailable, allowed disruptions, age."""
    spec, status = document["spec"], document.get("status") or {}
    bounds = [str(spec.get(name, "N/A")) for name in ("minAvailable", "maxUnavailable")]
    return [*bounds, status.get("disruptionsAllowed", 0), created(document)]
