"""Revisions: the annotations that number the templates of a Deployment in its ReplicaSets.

https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/deployment/util/deployment_util.go
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rehearsal_cloud.documents import Document

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"
_NOT_COPIED = {
    REVISION,
    HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
}
# No vowels and no look-alikes, so that a hash spells nothing: k8s.io/apimachinery/pkg/util/rand.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def revision(document: Document) -> int:
    """Return the revision that an object carries, or 0."""
    return int(annotations_of(document).get(REVISION, "0"))


def next_revision(old: Iterable[Document]) -> int:
    """Return the revision that comes after those of the old ReplicaSets."""
    return max(map(revision, old), default=0) + 1


def template_hash(template: Document, collisions: int) -> str:
    """Return the hash (FNV-1a) of the template that names its ReplicaSet."""
    value = 0x811C9DC5
    for byte in json.dumps([template, collisions], sort_keys=True).encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return "".join(_LETTERS[int(digit) % len(_LETTERS)] for digit in str(value))


def without_hash(template: Document) -> Document:
    """Return a ReplicaSet's template as its Deployment had it."""
    metadata = template.get("metadata") or {}
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name != HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def copied_annotations(deployment: Document) -> dict[str, str]:
    """Return the annotations that a new ReplicaSet copies from its Deployment."""
    return {name: value for name, value in annotations_of(deployment).items() if name not in _NOT_COPIED}


def advanced(annotations: dict[str, str], to: int) -> dict[str, str]:
    """Return a ReplicaSet's annotations at revision `to`; its former revision joins its history."""
    before = annotations.get(REVISION, "")
    if int(before or 0) >= to:
        return annotations
    after = {**annotations, REVISION: str(to)}
    if before:
        past = annotations.get(HISTORY, "")
        after[HISTORY] = f"{past},{before}" if past else before
    return after


def scaled_annotations(replicas: int, surge: int) -> dict[str, str]:
    """Return the annotations for proportional scaling during a roll-out."""
    return {DESIRED_REPLICAS: str(replicas), MAX_REPLICAS: str(replicas + surge)}
