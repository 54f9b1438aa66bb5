"""A pod's table row: its containers' states summed up in one word.

After `printPod` of https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.api.tables.cells import NONE, age, created

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document


def pod_cells(pod: Document) -> list[Any]:
    """Return ready, status, restarts, age; IP, node, nominated node, readiness gates."""
    spec, status = pod["spec"], pod.get("status") or {}
    sidecars = _sidecars(spec)
    regular = status.get("containerStatuses") or []
    initial = [
        container_status
        for container_status in status.get("initContainerStatuses") or []
        if container_status["name"] in sidecars
    ]
    ready = sum(1 for container_status in (*regular, *initial) if container_status.get("ready"))
    total = len(spec["containers"]) + len(sidecars)
    gates = [gate["conditionType"] for gate in spec.get("readinessGates") or []]
    met = sum(1 for gate in gates if _condition(status, gate) == "True")
    return [
        f"{ready}/{total}",
        _reason(pod),
        _restarts(pod),
        created(pod),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{met}/{len(gates)}" if gates else NONE,
    ]


def _sidecars(spec: Document) -> set[str]:
    return {
        container["name"]
        for container in spec.get("initContainers") or []
        if container.get("restartPolicy") == "Always"
    }


def _condition(status: Document, kind: str) -> str:
    return next((condition["status"] for condition in status.get("conditions") or [] if condition["type"] == kind), "")


def _reason(pod: Document) -> str:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    gated = any(condition.get("reason") == "SchedulingGated" for condition in status.get("conditions") or [])
    reason: str = "SchedulingGated" if gated else status.get("reason") or status.get("phase", "")
    starting = _starting(spec, status)
    if starting is not None and _condition(status, "Initialized") != "True":
        return starting
    return _running(status, starting or reason)


def _starting(spec: Document, status: Document) -> str | None:
    """Return the init container that the pod waits for, or None."""
    sidecars = _sidecars(spec)
    for done, container_status in enumerate(status.get("initContainerStatuses") or []):
        state = container_status.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if (ended and ended["exitCode"] == 0) or (
            container_status["name"] in sidecars and container_status.get("started")
        ):
            continue
        if ended:
            return f"Init:{_ending(ended)}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{done}/{len(spec['initContainers'])}"
    return None


def _running(status: Document, reason: str) -> str:
    has_running = False
    for container_status in reversed(status.get("containerStatuses") or []):
        state = container_status.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended:
            reason = _ending(ended)
        elif container_status.get("ready") and "running" in state:
            has_running = True
    if reason == "Completed" and has_running:
        return "Running" if _condition(status, "Ready") == "True" else "NotReady"
    return reason


def _ending(ended: Document) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended['exitCode']}"


def _restarts(pod: Document) -> str:
    status = pod.get("status") or {}
    counted = [*(status.get("containerStatuses") or [])]
    initial = status.get("initContainerStatuses") or []
    sidecars = _sidecars(pod["spec"])
    if _starting(pod["spec"], status) is not None and _condition(status, "Initialized") != "True":
        counted = initial
    else:
        counted += [container_status for container_status in initial if container_status["name"] in sidecars]
    restarts = sum(container_status.get("restartCount", 0) for container_status in counted)
    ends = [
        ((container_status.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        for container_status in counted
    ]
    last = max((end for end in ends if end), default=None)
    return f"{restarts} ({age(last)} ago)" if restarts and last else str(restarts)
