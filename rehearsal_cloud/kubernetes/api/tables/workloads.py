"""Lines of workloads in tables: what runs, how many of it, and how far it is.

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


def deployment(one: Document) -> list[Any]:
    """Return ready, up-to-date, available, age; containers, images, selector."""
    spec, status = one["spec"], one.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    counts = [ready, status.get("updatedReplicas", 0), status.get("availableReplicas", 0), created(one)]
    return [*counts, *containers(spec["template"]["spec"]), selector(spec.get("selector"))]


def replica_set(one: Document) -> list[Any]:
    """Return desired, current, ready, age; containers, images, selector."""
    spec, status = one["spec"], one.get("status") or {}
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0), created(one)]
    chosen = spec.get("selector")
    shown = labels(chosen) if one["kind"] == "ReplicationController" else selector(chosen)
    return [*counts, *containers(spec["template"]["spec"]), shown]


def stateful_set(one: Document) -> list[Any]:
    """Return ready, age; containers, images."""
    spec, status = one["spec"], one.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [ready, created(one), *containers(spec["template"]["spec"])]


def daemon_set(one: Document) -> list[Any]:
    """Return the five counts, node selector, age; containers, images, selector."""
    spec, status = one["spec"], one.get("status") or {}
    names = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    pod = spec["template"]["spec"]
    counts = [*(status.get(name, 0) for name in names), status.get("numberAvailable", 0)]
    return [*counts, labels(pod.get("nodeSelector")), created(one), *containers(pod), selector(spec["selector"])]


def controller_revision(one: Document) -> list[Any]:
    """Return controller, revision, age."""
    owner = next((ref for ref in one["metadata"].get("ownerReferences") or [] if ref.get("controller")), None)
    shown = NONE
    if owner:
        group = owner["apiVersion"].rpartition("/")[0]
        shown = f"{owner['kind'].lower()}.{group}/{owner['name']}" if group else f"{owner['kind']}/{owner['name']}"
    return [shown, one["revision"], created(one)]


def job(one: Document) -> list[Any]:
    """Return status, completions, duration, age; containers, images, selector."""
    spec, status = one["spec"], one.get("status") or {}
    done, wanted, parallel = status.get("succeeded", 0), spec.get("completions"), spec.get("parallelism", 1)
    target = wanted if wanted is not None else (f"1 of {parallel}" if parallel > 1 else 1)
    start, end = status.get("startTime"), status.get("completionTime")
    lasted = (between(start, end) if end else age(start)) if start else ""
    pod = spec["template"]["spec"]
    shown = [_job_status(one), f"{done}/{target}", lasted, created(one)]
    return [*shown, *containers(pod), selector(spec.get("selector"))]


def _job_status(one: Document) -> str:
    conditions = (one.get("status") or {}).get("conditions") or []
    true = {each["type"] for each in conditions if each["status"] == "True"}
    if "Complete" in true or "Failed" in true:
        return "Complete" if "Complete" in true else "Failed"
    if one["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((each for each in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if each in true), "Running")


def cron_job(one: Document) -> list[Any]:
    """Return schedule, time zone, suspended, active, last schedule, age; containers, images, selector."""
    spec, status = one["spec"], one.get("status") or {}
    last = age(status["lastScheduleTime"]) if status.get("lastScheduleTime") else NONE
    job = spec["jobTemplate"]["spec"]
    schedule = [spec["schedule"], spec.get("timeZone") or NONE, bool(spec.get("suspend"))]
    return [
        *schedule,
        len(status.get("active") or []),
        last,
        created(one),
        *containers(job["template"]["spec"]),
        selector(job.get("selector")),
    ]


def autoscaler(one: Document) -> list[Any]:
    """Return reference, targets, least, most, replicas, age."""
    spec, status = one["spec"], one.get("status") or {}
    target = spec["scaleTargetRef"]
    current = status.get("currentMetrics") or []
    wanted: list[Document] = spec.get("metrics") or []
    shown = [_metric(each, now or {}) for each, now in zip_longest(wanted, current[: len(wanted)])]
    replicas = [spec.get("minReplicas", UNSET), spec["maxReplicas"], status.get("currentReplicas", 0)]
    return [f"{target['kind']}/{target['name']}", ", ".join(shown) or NONE, *replicas, created(one)]


def _metric(wanted: Document, current: Document) -> str:
    kind = wanted["type"][:1].lower() + wanted["type"][1:]
    target = wanted[kind]["target"]
    now = (current.get(kind) or {}).get("current") or {}
    prefix = f"{wanted[kind]['name']}: " if kind in ("resource", "containerResource") else ""
    if target.get("averageUtilization") is not None:
        used = f"{now['averageUtilization']}%" if "averageUtilization" in now else UNKNOWN
        return f"{prefix}{used}/{target['averageUtilization']}%"
    if target.get("averageValue") is not None:
        average = " (avg)" if kind in ("external", "object") else ""
        return f"{prefix}{now.get('averageValue', UNKNOWN)}/{target['averageValue']}{average}"
    return f"{prefix}{now.get('value', UNKNOWN)}/{target.get('value')}"


def budget(one: Document) -> list[Any]:
    """Return least available, most unavailable, disruptions, age."""
    spec, status = one["spec"], one.get("status") or {}
    bounds = [str(spec.get(name, "N/A")) for name in ("minAvailable", "maxUnavailable")]
    return [*bounds, status.get("disruptionsAllowed", 0), created(one)]
