"""Deletion of an object: removed at once, or marked until its grace period or its finalizers end.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/#cascading-deletion
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import conflict, forbidden
from rehearsal_cloud.kubernetes.objects.lifecycle import has_finalizers, is_terminating, marked_for_deletion

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Failure
    from rehearsal_cloud.kubernetes.objects.kinds import Kind

_BY_POLICY = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
_ORPHANING = frozenset({"Job", "ReplicationController"})
_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
_POD_GRACE_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class DeleteOptions:
    """metav1.DeleteOptions: `grace` is in seconds; without `propagation` the kind's default applies."""

    propagation: str | None = None
    grace: int | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class Deletion:
    """The result of a deletion: the object's last or current state, and whether it is gone."""

    document: Document
    gone: bool


def orphans_by_default(kind: Kind) -> bool:
    """Tell whether the kind orphans its dependents when no propagation policy is set."""
    return kind.kind in _ORPHANING


def deletion_of(kind: Kind, document: Document, options: DeleteOptions) -> Deletion:
    """Return the result of deleting the object. Raises Failure where it may not be deleted."""
    _check(kind, document, options)
    document = _with_finalizers(kind, document, options.propagation)
    if kind.kind == "Namespace":
        if not is_terminating(document):
            document = {
                **marked_for_deletion(document, 0),
                "status": {**document.get("status", {}), "phase": "Terminating"},
            }
            del document["metadata"]["deletionGracePeriodSeconds"]
        return Deletion(document, gone=not has_finalizers(document))
    grace = _pod_grace(document, options.grace) if kind.kind == "Pod" else 0
    if grace and is_terminating(document):
        return Deletion(_with_shorter_grace(document, grace), gone=False)
    if not grace and not has_finalizers(document):
        return Deletion(document, gone=True)
    if is_terminating(document) and document["metadata"].get("deletionGracePeriodSeconds") == grace:
        return Deletion(document, gone=False)
    return Deletion(marked_for_deletion(document, grace), gone=False)


def is_removable(document: Document) -> bool:
    """Tell whether an object marked for deletion can be removed."""
    return (
        is_terminating(document)
        and not has_finalizers(document)
        and not document["metadata"].get("deletionGracePeriodSeconds")
    )


def _check(kind: Kind, document: Document, options: DeleteOptions) -> None:
    metadata = document["metadata"]
    name = metadata["name"]
    if options.uid and options.uid != metadata["uid"]:
        record = f"({options.uid}) does not match the UID in record ({metadata['uid']})"
        why = f"the UID in the precondition {record}. The object might have been deleted and then recreated"
        raise _precondition_failed(kind, name, why)
    version = metadata["resourceVersion"]
    if options.resource_version and options.resource_version != version:
        record = f"({options.resource_version}) does not match the ResourceVersion in record ({version})"
        why = f"the ResourceVersion in the precondition {record}. The object might have been modified"
        raise _precondition_failed(kind, name, why)
    if kind.kind == "Namespace" and name in _IMMORTAL:
        raise forbidden(kind, name, "this namespace may not be deleted")


def _precondition_failed(kind: Kind, name: str, why: str) -> Failure:
    """Return the 409 of a failed precondition; it names the kind, not the resource."""
    return conflict(replace(kind, plural=kind.kind), name, why)


def _with_finalizers(kind: Kind, document: Document, propagation: str | None) -> Document:
    if propagation is None and not orphans_by_default(kind):
        return document
    kept = [
        finalizer for finalizer in document["metadata"].get("finalizers") or () if finalizer not in _BY_POLICY.values()
    ]
    policy = propagation or "Orphan"
    finalizers = [*kept, *([_BY_POLICY[policy]] if policy in _BY_POLICY else [])]
    metadata = {key: value for key, value in document["metadata"].items() if key != "finalizers"}
    return {**document, "metadata": metadata | ({"finalizers": finalizers} if finalizers else {})}


def _pod_grace(pod: Document, requested: int | None) -> int:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    if requested is None:
        requested = spec.get("terminationGracePeriodSeconds", _POD_GRACE_SECONDS)
    return 1 if requested < 0 else int(requested)


def _with_shorter_grace(pod: Document, grace: int) -> Document:
    """Return the terminating pod with the new grace period if it is shorter; a period is never extended."""
    metadata = pod["metadata"]
    granted = metadata.get("deletionGracePeriodSeconds", 0)
    if grace >= granted:
        return pod
    ends = datetime.fromisoformat(metadata["deletionTimestamp"]) + timedelta(seconds=grace - granted)
    stamp = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**pod, "metadata": {**metadata, "deletionTimestamp": stamp, "deletionGracePeriodSeconds": grace}}
