"""CustomResourceDefinitions: what the server says of one as soon as its kinds are served."""

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
    """Return the definition with the status that it has once its names are accepted and its versions served."""
    spec, status = definition["spec"], definition.get("status") or {}
    stored = [one["name"] for one in spec["versions"] if one["storage"]]
    versions = list(dict.fromkeys([*(status.get("storedVersions") or ()), *stored]))
    conditions = status.get("conditions") or [
        {"type": kind, "status": "True", "lastTransitionTime": now(), "reason": reason, "message": message}
        for kind, reason, message in _CONDITIONS
    ]
    names = dict(spec["names"])
    return {**definition, "status": {"acceptedNames": names, "conditions": conditions, "storedVersions": versions}}
