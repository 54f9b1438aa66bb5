"""Waits for a roll-out: until a Deployment's pods are available, a Job is complete, or a claim is bound.

The cluster's controllers decide on success and failure, as in `kubectl rollout status`. The only failure decided here
is a roll-out whose new pods keep exiting while the old ones still serve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflowaks.errors import RolloutFailed
from airflowaks.kube.advice import advise
from airflowaks.kube.client import Reference
from airflowaks.kube.pods import conditions, find_trouble, indented, is_true, last_lines, last_warning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflowaks.kube.client import Document, Kube
    from airflowaks.kube.pods import Trouble

_CLAIM = "PersistentVolumeClaim"
_ROLLOUT_SECONDS = 3600.0
_CLAIM_SECONDS = 600.0
# A container's second restart comes after ten seconds, the third after thirty.
_MOST_RESTARTS = 2


@dataclass(frozen=True)
class _State:
    """The progress of a roll-out in a few words; `failed` means that the controller has given up."""

    text: str
    done: bool = False
    failed: bool = False


def await_ready(kube: Kube, reference: Reference, show: Callable[[str], None] = lambda _: None) -> None:
    """Wait until an object is ready; kinds without a roll-out are ready at once.

    `show` gets the progress, finally "", or how many old pods still finish their work.

    Raises RolloutFailed with the pod, the container, the reason, and the last lines of its log.
    """
    evaluate = _STATES.get(reference.kind)
    if evaluate is None:
        return
    state, trouble = _State("not started"), None
    seconds = _CLAIM_SECONDS if reference.kind == _CLAIM else _ROLLOUT_SECONDS
    for document in kube.follow(reference, seconds):
        state = evaluate(kube, document) if document else _State("the object was deleted", failed=True)
        if state.done or state.failed:
            break
        pods = _pods_of(kube, document) if document else []
        if document and _serves_as_before(document) and (restarts := _restarts(document, pods)) >= _MOST_RESTARTS:
            state = _State(f"a container of the new pod was restarted {restarts} times", failed=True)
            break
        # A Job past its deadline has its pods deleted, and their trouble with them.
        now = find_trouble(kube, pods)
        trouble = now or trouble
        show(f"{state.text}, {now.reason}" if now else state.text)
    if not state.done:
        show("")
        raise _failed(kube, reference, state, trouble)
    draining = sum("deletionTimestamp" in pod["metadata"] for pod in _pods_of(kube, document)) if document else 0
    show(f"ready; {draining} old pod{'s' if draining > 1 else ''} still draining" if draining else "")


def failure_of(job: Mapping[str, Any]) -> str:
    """Return reason and message of a failed Job; empty if it has not failed."""
    failed = conditions(job).get("Failed", {})
    return f"{failed.get('reason')}: {failed.get('message')}" if failed.get("status") == "True" else ""


def _deployment(_kube: Kube, document: Document) -> _State:
    spec, status, metadata = document["spec"], document.get("status", {}), document["metadata"]
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    if spec.get("paused"):
        return _State("the roll-out is paused (`kubectl rollout resume` continues it)", failed=True)
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return _State("not started")
    if conditions(document).get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded":
        return _State(f"no progress in {spec.get('progressDeadlineSeconds')} s", failed=True)
    if updated < wanted:
        return _State(f"{updated} of {wanted} pods updated")
    if (old := status.get("replicas", 0) - updated) > 0:
        return _State(f"{old} old pod{'s' if old > 1 else ''} still running")
    available = status.get("availableReplicas", 0)
    return _State(f"{available} of {wanted} pods available", done=available >= updated)


def _serves_as_before(document: Document) -> bool:
    """Tell whether pods of the previous revision are available, so that the roll-out can be abandoned safely."""
    status = document.get("status", {})
    before = int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))
    return document["kind"] == "Deployment" and 0 < before <= int(status.get("availableReplicas", 0))


def _restarts(document: Document, pods: list[Document]) -> int:
    """Return the most restarts of an unready container of the current revision."""
    template = document["spec"]["template"]
    annotations, programs = template["metadata"].get("annotations", {}), _programs(template)
    return max(
        (
            container["restartCount"]
            for pod in pods
            if _programs(pod) == programs and annotations.items() <= pod["metadata"].get("annotations", {}).items()
            for container in pod.get("status", {}).get("containerStatuses", ())
            if not container["ready"]
        ),
        default=0,
    )


def _programs(pod: Document) -> list[tuple[Any, ...]]:
    return [tuple(map(container.get, ("image", "command", "args"))) for container in pod["spec"]["containers"]]


def _job(_kube: Kube, document: Document) -> _State:
    if failure := failure_of(document):
        return _State(failure, failed=True)
    succeeded, wanted = document.get("status", {}).get("succeeded", 0), document["spec"].get("completions", 1)
    return _State(f"{succeeded} of {wanted} pods succeeded", done=is_true(document, "Complete"))


def _claim(kube: Kube, document: Document) -> _State:
    phase = document.get("status", {}).get("phase", "Pending")
    if phase == "Pending" and (name := document["spec"].get("storageClassName")):
        storage_class = kube.get(Reference("storage.k8s.io/v1", "StorageClass", name)) or {}
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
            return _State("bound when a pod uses it", done=True)
    return _State(phase.lower(), done=phase == "Bound", failed=phase == "Lost")


_STATES: dict[str, Callable[[Kube, Document], _State]] = {
    "Deployment": _deployment,
    "Job": _job,
    _CLAIM: _claim,
}


def _pods_of(kube: Kube, document: Document) -> list[Document]:
    labels = document["spec"].get("selector", {}).get("matchLabels", {})
    if not labels:
        return []
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    return list(kube.each("v1", "Pod", document["metadata"]["namespace"], labels=selector))


def _failed(kube: Kube, reference: Reference, state: _State, seen: Trouble | None) -> RolloutFailed:
    """Return the error with the trouble of the object's pods now, else the one `seen` before they were deleted."""
    document = kube.get(reference)
    trouble = seen
    if document and reference.kind != _CLAIM:
        trouble = find_trouble(kube, _pods_of(kube, document)) or seen
    cause, message = (trouble.reason, trouble.message) if trouble else _complaint(kube, reference, document)
    lines = last_lines(kube, trouble) if trouble else ""
    told = str(trouble) if trouble else f"{cause}: {message}"
    reason = state.text if told in state.text or not cause else f"{state.text}; {told}"
    sentence = kube.session.redactor.redact(f"{reference.kind} {reference.name} did not become ready: {reason}.")
    named = f"pod {trouble.pod.name}" if trouble else f"{reference.kind.lower()} {reference.name}"
    see = f"Run `kubectl describe {named} --namespace {reference.namespace}`, fix the cause, and run the step again."
    return RolloutFailed(sentence + indented(lines), advise(cause, message, see))


def _complaint(kube: Kube, reference: Reference, document: Document | None) -> tuple[str, str]:
    """Return reason and message of what keeps an object from having pods: its condition, else its last warning."""
    failure = conditions(document or {}).get("ReplicaFailure", {})
    if failure.get("status") == "True":
        return str(failure.get("reason")), str(failure.get("message"))
    return last_warning(kube, reference) or ("", "")
