"""Owner references: which controller an object belongs to, and how controllers adopt and release objects.

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
    """Return the reference to the controlling owner of the object, or None."""
    references = document["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def controlled_by(document: Document, owner: Document) -> bool:
    """Tell whether `owner` controls the object."""
    reference = controller_of(document)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def reference_to(owner: Document) -> Document:
    """Return the owner reference of the objects that a controller creates."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def claimed(objects: Objects, kind: str, owner: Document) -> list[Document]:
    """Return the objects of a kind that `owner` controls; adopt orphans and release those that no longer match."""
    metadata, selector = owner["metadata"], owner["spec"]["selector"]
    owned = []
    for document in objects.list(kind, metadata["namespace"]):
        reference = controller_of(document)
        fits = matches_selector(selector, labels_of(document))
        if reference is not None and reference["uid"] == metadata["uid"]:
            if fits or "deletionTimestamp" in metadata:
                owned.append(document)
            else:
                _own(
                    objects,
                    document,
                    [item for item in document["metadata"]["ownerReferences"] if item["uid"] != metadata["uid"]],
                )
        elif (
            reference is None
            and fits
            and not any("deletionTimestamp" in item["metadata"] for item in (document, owner))
        ):
            references = document["metadata"].get("ownerReferences") or []
            owned.append(_own(objects, document, [*references, reference_to(owner)]))
    return owned


def _own(objects: Objects, document: Document, references: list[Document]) -> Document:
    return objects.update(with_metadata(document, ownerReferences=references))
