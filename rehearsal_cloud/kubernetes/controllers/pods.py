"""The state of pods for controllers (active, done, ready, since when), and pods from a template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.controllers.owners import reference_to
from rehearsal_cloud.kubernetes.controllers.timestamps import seconds_since

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document


def phase(pod: Document) -> str:
    """Return the pod's phase; it is Pending until a node reports."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_done(pod: Document) -> bool:
    """Tell whether all of the pod's containers have ended for good."""
    return phase(pod) in ("Succeeded", "Failed")


def is_terminating(pod: Document) -> bool:
    """Tell whether the pod is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def is_active(pod: Document) -> bool:
    """Tell whether the pod counts as one of its controller's replicas."""
    return not is_done(pod) and not is_terminating(pod)


def condition(document: Document, kind: str) -> Document | None:
    """Return an object's condition of a type, or None."""
    conditions = (document.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item["type"] == kind), None)


def is_ready(pod: Document) -> bool:
    """Tell whether the pod's Ready condition holds."""
    ready = condition(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def ready_seconds(pod: Document) -> float:
    """Return for how many seconds the pod has been ready; 0 when it is not."""
    ready = condition(pod, "Ready")
    if ready is None or ready["status"] != "True" or not ready.get("lastTransitionTime"):
        return 0.0
    return seconds_since(ready["lastTransitionTime"])


def is_available(pod: Document, min_ready_seconds: int) -> bool:
    """Tell whether the pod has been ready for long enough."""
    return is_ready(pod) and (not min_ready_seconds or ready_seconds(pod) >= min_ready_seconds)


def restarts(pod: Document) -> int:
    """Return how often containers of the pod were restarted."""
    status = pod.get("status") or {}
    listed = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return sum(container_status.get("restartCount", 0) for container_status in listed)


def from_template(template: Document, owner: Document) -> Document:
    """Return a new pod of `owner`, named by the server."""
    template_metadata = template.get("metadata") or {}
    kept = {
        key: template_metadata[key] for key in ("labels", "annotations", "finalizers") if template_metadata.get(key)
    }
    metadata = {
        "generateName": f"{owner['metadata']['name']}-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [reference_to(owner)],
        **kept,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
