"""Problems of pods: the pod, the container, the reason, and the last lines of its log."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflowaks.errors import ClusterUnreachable, KubernetesError, RolloutFailed
from airflowaks.kube.client import Reference
from airflowaks.kube.kubelet import read_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflowaks.kube.client import Document, Kube

_LOG_LINES = 10
_READY_SECONDS = 600.0
# Normal reasons of a waiting container.
_USUAL = ("ContainerCreating", "PodInitializing")
_NO_IMAGE, _PULLING = ("InvalidImageName", "ErrImageNeverPull"), ("ErrImagePull", "ImagePullBackOff")


@dataclass(frozen=True)
class Trouble:
    """Why a pod is not ready: the container (empty: the pod itself) and a reason such as `ErrImagePull`."""

    pod: Reference
    container: str
    reason: str
    message: str = ""
    restarted: bool = False
    """Whether the log before the restart has the cause."""

    def __str__(self) -> str:
        where = f"pod {self.pod.name}" + (f", container {self.container}" if self.container else "")
        return f"{where}: {self.reason}" + (f" ({self.message})" if self.message else "")


def find_trouble(kube: Kube, pods: list[Document]) -> Trouble | None:
    """Return the problem of the newest pod that has one, or None."""
    newest_first = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
    return next(filter(None, (_trouble(kube, pod) for pod in newest_first)), None)


def last_lines(kube: Kube, trouble: Trouble) -> str:
    """Return the last lines of the container's log, secrets masked; empty if there are none."""
    if not trouble.container:
        return ""
    try:
        text = read_log(kube, trouble.pod, trouble.container, lines=_LOG_LINES, previous=trouble.restarted)
    except KubernetesError:
        return ""
    return kube.session.redactor.redact(text).rstrip()


@contextmanager
def short_lived(kube: Kube, document: Document, seconds: float = _READY_SECONDS) -> Iterator[Reference]:
    """Create a pod, yield it when it is ready or has succeeded, and delete it at the end of the block.

    Two runs may do so at once, so the pod's name is the caller's own. What killed runs left is deleted once it has
    ended: a pod needs a deadline.

    Raises RolloutFailed if it fails, or is neither within `seconds`.
    """
    _delete_ended(kube, document)
    reference = Reference.of(document)
    try:
        kube.create(document)
    except ClusterUnreachable:
        with suppress(KubernetesError):  # the answer was lost: the pod may exist
            kube.delete(reference, grace_seconds=0)
        raise
    try:
        _await_pod(kube, reference, seconds)
        yield reference
    finally:
        kube.delete(reference, grace_seconds=0)


def _delete_ended(kube: Kube, document: Document) -> None:
    """Delete the pods with a pod's labels that have succeeded or reached their deadline; another run uses the rest."""
    labels = ",".join(f"{label}={value}" for label, value in document["metadata"].get("labels", {}).items())
    if not labels:
        return
    for pod in kube.each("v1", "Pod", document["metadata"]["namespace"], labels=labels):
        if pod["status"].get("phase") == "Succeeded" or pod["status"].get("reason") == "DeadlineExceeded":
            kube.delete(Reference.of(pod), grace_seconds=0)


def _await_pod(kube: Kube, reference: Reference, seconds: float) -> None:
    pod: Document | None = None
    for pod in kube.follow(reference, seconds):
        phase = pod["status"].get("phase") if pod else "Failed"
        if phase == "Succeeded" or (pod and is_ready(pod)):
            return
        if phase == "Failed" or (pod and never_starts(pod)):
            break
    raise not_ready(kube, reference, pod)


def not_ready(kube: Kube, reference: Reference, pod: Document | None) -> RolloutFailed:
    """Return the error for a pod that did not become ready; without `pod`, for a Pod or Job that has none."""
    trouble = find_trouble(kube, [pod]) if pod else None
    lines = last_lines(kube, trouble) if trouble else ""
    gone = ": ".join(last_warning(kube, reference)) or "it has no pod"
    return RolloutFailed(
        f"{reference.kind} {reference.name} did not become ready: {str(trouble or gone).rstrip('.')}."
        + indented(lines),
        f"Run `kubectl describe {reference.kind.lower()} {reference.name} --namespace {reference.namespace}`, fix the"
        " cause, and run the step again.",
    )


def never_starts(pod: Mapping[str, Any]) -> bool:
    """Tell whether the kubelet says that an image of a pod does not exist or has no valid name.

    Other pulls may succeed later: the role to pull takes effect within ten minutes. The words are those of kubelet 1.36
    with containerd 1.6, measured.
    """
    statuses = pod.get("status", {}).get("containerStatuses", ())
    waiting = [status.get("state", {}).get("waiting") or {} for status in statuses]
    return any(
        state.get("reason") in _NO_IMAGE
        or (state.get("reason") in _PULLING and str(state.get("message")).endswith(": not found"))
        for state in waiting
    )


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod is ready and not terminating."""
    return is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]


def conditions(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the conditions of an object by type."""
    return {condition["type"]: condition for condition in document.get("status", {}).get("conditions", ())}


def is_true(document: Mapping[str, Any], condition: str) -> bool:
    """Tell whether an object has a condition and its status is True."""
    return bool(conditions(document).get(condition, {}).get("status") == "True")


def last_seen(event: Mapping[str, Any]) -> str:
    """Return when an event was last seen (ISO 8601)."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def events_about(kube: Kube, reference: Reference, **fields: str) -> list[Document]:
    """Return the events about an object that have the values of `fields`, the newest last."""
    fields |= {"involvedObject.kind": reference.kind, "involvedObject.name": reference.name}
    selector = ",".join(f"{field}={value}" for field, value in fields.items())
    return sorted(kube.each("v1", "Event", reference.namespace, fields=selector), key=last_seen)


def last_warning(kube: Kube, reference: Reference) -> tuple[str, str] | tuple[()]:
    """Return reason and message of the last warning about an object, or nothing where there is none."""
    warnings = events_about(kube, reference, type="Warning")
    return (str(warnings[-1].get("reason")), str(warnings[-1].get("message")).strip()) if warnings else ()


def indented(lines: str) -> str:
    """Return log lines indented for the end of a message."""
    return "".join(f"\n  | {line}" for line in lines.splitlines())


def _trouble(kube: Kube, pod: Document) -> Trouble | None:
    status, reference = pod.get("status", {}), Reference.of({"apiVersion": "v1", "kind": "Pod", **pod})
    statuses = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    for container in statuses:
        if trouble := _container_trouble(reference, container):
            return trouble
    if status.get("phase") == "Succeeded" or is_ready(pod):
        return None
    scheduled = conditions(pod).get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return Trouble(reference, "", scheduled.get("reason", "Unschedulable"), scheduled.get("message", ""))
    unready = [container for container in statuses if not container["ready"]]
    running = next((container["name"] for container in unready if "running" in container.get("state", {})), "")
    if warning := last_warning(kube, reference):
        return Trouble(reference, running, *warning)
    if running:
        return Trouble(reference, running, "not ready", "it is running, but its probe has not passed")
    return Trouble(reference, "", status.get("reason") or status.get("phase", "Pending"), status.get("message", ""))


def _container_trouble(pod: Reference, status: Mapping[str, Any]) -> Trouble | None:
    state, before = status.get("state", {}), status.get("lastState", {}).get("terminated")
    waiting, ended = state.get("waiting"), state.get("terminated")
    if waiting and waiting.get("reason") not in (None, *_USUAL):
        message = _exit(before) if before else waiting.get("message", "")
        return Trouble(pod, status["name"], waiting["reason"], message, restarted=before is not None)
    if ended and ended.get("exitCode"):
        return Trouble(pod, status["name"], ended.get("reason", "Error"), _exit(ended))
    if before and before.get("exitCode") and not status["ready"]:
        return Trouble(pod, status["name"], before.get("reason", "Error"), _exit(before), restarted=True)
    return None


def _exit(ended: Mapping[str, Any]) -> str:
    reason = ended.get("message") or ended.get("reason", "")
    return f"exit code {ended['exitCode']}" + (f", {reason}" if reason else "")
