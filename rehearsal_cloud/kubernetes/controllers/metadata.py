"""The metadata of an object: its key, labels and annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key


def key_of(document: Document) -> Key:
    """Return an object's namespace ("" for a cluster-wide kind) and name."""
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def labels_of(document: Document) -> dict[str, str]:
    """Return an object's labels."""
    return document["metadata"].get("labels") or {}


def annotations_of(document: Document) -> dict[str, str]:
    """Return an object's annotations."""
    return document["metadata"].get("annotations") or {}


def with_metadata(document: Document, **changes: object) -> Document:
    """Return the object with changed metadata."""
    return {**document, "metadata": {**document["metadata"], **changes}}
