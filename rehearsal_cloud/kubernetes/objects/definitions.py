"""The status of a CustomResourceDefinition whose kinds are served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.lifecycle import now

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_CONDITIONS = (
    ("NamesAccepted", "NoConflicts", "no conflicts found"),
    ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
)


def established(definition: Document) -> Document:
    """Return the definition with the status of accepted names and served versions."""
    spec, status = definition["spec"], definition.get("status") or {}
    stored = [version["name"] for version in spec["versions"] if version["storage"]]
    versions = list(dict.fromkeys([*(status.get("storedVersions") or ()), *stored]))
    conditions = status.get("conditions") or [
        {"type": kind, "status": "True", "lastTransitionTime": now(), "reason": reason, "message": message}
        for kind, reason, message in _CONDITIONS
    ]
    names = dict(spec["names"])
    return {**definition, "status": {"acceptedNames": names, "conditions": conditions, "storedVersions": versions}}
