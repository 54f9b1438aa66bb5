"""Pod templates: where an object says which pods it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_TEMPLATED = frozenset({"ReplicationController", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"})


def pod_template(document: Document) -> tuple[str, Document | None]:
    """Return a workload's template of pods and its path; a pod is its own, other kinds have none."""
    if document["kind"] == "Pod":
        return "", document
    if document["kind"] == "CronJob":
        return "spec.jobTemplate.spec.template.", document["spec"]["jobTemplate"]["spec"]["template"]
    return "spec.template.", document["spec"].get("template") if document["kind"] in _TEMPLATED else None
