"""Owners: which controller an object belongs to, and how a controller takes in what fits it and lets go what does not.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.controllers.metadata import labels_of, with_metadata
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects


def controller_of(document: Document) -> Document | None:
    """Return the reference to the one owner that controls the object, or None."""
    references = document["metadata"].get("ownerReferences") or ()
    return next((one for one in references if one.get("controller")), None)


def controlled_by(document: Document, owner: Document) -> bool:
    """Tell whether `owner` controls the object."""
    reference = controller_of(document)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def reference_to(owner: Document) -> Document:
    """Return the reference by which a controller owns what it makes."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def claimed(objects: Objects, kind: str, owner: Document) -> list[Document]:
    """Return the objects of a kind that `owner` controls, after adopting orphans and releasing what fits no more."""
    metadata, selector = owner["metadata"], owner["spec"]["selector"]
    ours = []
    for one in objects.list(kind, metadata["namespace"]):
        reference = controller_of(one)
        fits = matches_selector(selector, labels_of(one))
        if reference is not None and reference["uid"] == metadata["uid"]:
            if fits or "deletionTimestamp" in metadata:
                ours.append(one)
            else:
                _own(objects, one, [it for it in one["metadata"]["ownerReferences"] if it["uid"] != metadata["uid"]])
        elif reference is None and fits and not any("deletionTimestamp" in it["metadata"] for it in (one, owner)):
            references = one["metadata"].get("ownerReferences") or []
            ours.append(_own(objects, one, [*references, reference_to(owner)]))
    return ours


def _own(objects: Objects, document: Document, references: list[Document]) -> Document:
    return objects.update(with_metadata(document, ownerReferences=references))
