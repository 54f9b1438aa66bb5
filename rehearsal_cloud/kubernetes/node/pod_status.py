"""The status of a pod, derived from its containers as the kubelet does.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.lifecycle import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.documents import Document

_OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


def is_sidecar(container: Document) -> bool:
    """Tell whether an init container is a sidecar."""
    return container.get("restartPolicy") == "Always"


def phase(pod: Document, inits: Sequence[Document], apps: Sequence[Document]) -> str:
    """Return the pod's phase, from the statuses of its containers."""
    policy = pod["spec"].get("restartPolicy", "Always")
    sidecars = {spec["name"] for spec in pod["spec"].get("initContainers") or [] if is_sidecar(spec)}
    for init in inits:
        ended = init["state"].get("terminated")
        if init["name"] not in sidecars and ended and ended["exitCode"] and policy == "Never":
            return "Failed"
    if any(not _initialized(init, init["name"] in sidecars) for init in inits):
        return "Pending"
    if any("waiting" in app["state"] and not app["lastState"] for app in apps):
        return "Pending"
    if any("running" in app["state"] for app in apps) or policy == "Always":
        return "Running"
    if any("running" in init["state"] for init in inits):
        return "Running"  # a sidecar is still to be ended
    codes = [_last_code(app) for app in apps]
    if not any(codes):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _initialized(status: Document, sidecar: bool) -> bool:  # noqa: FBT001 - it is the kind of container
    if sidecar:
        return bool(status["started"] or status["lastState"] or "terminated" in status["state"])
    return bool(status["state"].get("terminated", {}).get("exitCode") == 0)


def _last_code(status: Document) -> int:
    ended = status["state"].get("terminated") or status["lastState"].get("terminated") or {}
    return int(ended.get("exitCode", 0))


def conditions(pod: Document, phase_: str, inits: Sequence[Document], apps: Sequence[Document]) -> list[Document]:
    """Return the pod's conditions; foreign conditions stay, and unchanged ones keep their transition times."""
    kept: dict[str, Document] = {
        condition["type"]: condition for condition in pod.get("status", {}).get("conditions") or []
    }
    sidecars = {spec["name"] for spec in pod["spec"].get("initContainers") or [] if is_sidecar(spec)}
    late = [init["name"] for init in inits if not _initialized(init, init["name"] in sidecars)]
    initialized = _condition(
        not late, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(late)}]"
    )
    unready = [
        status["name"] for status in (*inits, *apps) if status["name"] not in {i["name"] for i in inits} - sidecars
    ]
    statuses = {status["name"]: status for status in (*inits, *apps)}
    unready = [name for name in unready if not statuses[name]["ready"]]
    ready = _condition(not unready, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    if phase_ == "Succeeded":
        initialized = {"status": "True", "reason": "PodCompleted"}
        ready = {"status": "False", "reason": "PodCompleted"}
    elif phase_ == "Failed":
        ready = {"status": "False", "reason": "PodFailed"}
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []]
    closed = [gate for gate in gates if kept.get(gate, {}).get("status") != "True"]
    pod_ready = ready
    if ready["status"] == "True" and closed:
        text = f'corresponding condition of pod readiness gate "{closed[0]}" does not exist.'
        pod_ready = {"status": "False", "reason": "ReadinessGatesNotReady", "message": text}
    has_sandbox = {"status": "False" if phase_ in ("Succeeded", "Failed") else "True"}
    derived = dict(zip(_OURS, (has_sandbox, initialized, pod_ready, ready), strict=True))
    by_type = {**kept, **{kind: _dated(kind, state, kept.get(kind), pod) for kind, state in derived.items()}}
    return [by_type[kind] for kind in (*_OURS, *(kind for kind in by_type if kind not in _OURS))]


def _condition(well: bool, reason: str, message: str) -> Document:  # noqa: FBT001 - it is the condition's state
    return {"status": "True"} if well else {"status": "False", "reason": reason, "message": message}


def _dated(kind: str, state: Document, before: Document | None, pod: Document) -> Document:
    since = before["lastTransitionTime"] if before and before["status"] == state["status"] else now()
    condition = {"type": kind, "lastProbeTime": None, "lastTransitionTime": since, **state}
    return condition | {"observedGeneration": pod["metadata"].get("generation", 1)}


def qos_class(pod: Document) -> str:
    """Return the pod's quality of service class."""
    containers = [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]
    resources = [container.get("resources") or {} for container in containers]
    if not any(item.get("requests") or item.get("limits") for item in resources):
        return "BestEffort"
    for item in resources:
        limits, requests = item.get("limits") or {}, item.get("requests") or {}
        if not {"cpu", "memory"} <= limits.keys() or any(
            requests.get(key, limits[key]) != limits[key] for key in limits
        ):
            return "Burstable"
    return "Guaranteed"
