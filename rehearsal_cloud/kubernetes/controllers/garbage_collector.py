"""The garbage collector: deletes dependents of deleted owners (background, foreground), or orphans them.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import with_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event
    from rehearsal_cloud.kubernetes.state import ClusterState

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"


class GarbageCollector(Controller):
    """Follows the references from objects to their owners; a key is kind, namespace, name and uid."""

    component = "garbage-collector-controller"
    watches: ClassVar[tuple[str, ...]] = ()

    def __init__(self, cluster: ClusterState) -> None:
        super().__init__(cluster)
        self._dependents: defaultdict[str, dict[str, Key]] = defaultdict(dict)
        self._owners: dict[str, set[str]] = {}

    def keys(self, event: Event) -> Iterator[Key]:
        """Return an object with owners or with a collector's finalizer, its owners and its dependents."""
        document = event.document
        metadata = document["metadata"]
        uid = metadata["uid"]
        identity = _identity(document)
        owners = {} if event.type == "DELETED" else {reference["uid"]: reference for reference in _references(document)}
        for former_owner in self._owners.pop(uid, set()) - owners.keys():
            self._dependents[former_owner].pop(uid, None)
        for owner in owners:
            self._dependents[owner][uid] = identity
        if owners:
            self._owners[uid] = set(owners)
        if event.type == "DELETED":
            yield from self._dependents.pop(uid, {}).values()
        elif owners or _waits(document, _FOREGROUND, _ORPHAN):
            yield identity
        for owner in _references(event.previous or document):
            # The owner may be waiting for the deletion or the release of this object.
            yield owner["kind"], self._namespace(owner, document), owner["name"], owner["uid"]

    async def reconcile(self, key: Key) -> None:
        """Continue the object's deletion, or delete the object when it has no owner left."""
        kind, namespace, name, uid = key
        document = self._living(kind, namespace, name, uid)
        if document is None:
            return
        dependents = [
            dependent for dependent in map(self._find, self._dependents.get(uid, {}).values()) if dependent is not None
        ]
        if _waits(document, _ORPHAN):
            self._orphan(document, dependents)
        elif _waits(document, _FOREGROUND):
            self._await(document, dependents)
        elif _references(document):
            self._collect(document, has_dependents=bool(dependents))

    def _orphan(self, document: Document, dependents: list[Document]) -> None:
        for dependent in dependents:
            self._disown(dependent, {document["metadata"]["uid"]})
        self._release(document, _ORPHAN)

    def _await(self, document: Document, dependents: list[Document]) -> None:
        uid = document["metadata"]["uid"]
        blocking = [
            dependent
            for dependent in dependents
            if any(
                reference["uid"] == uid and reference.get("blockOwnerDeletion") for reference in _references(dependent)
            )
        ]
        for dependent in dependents:
            if "deletionTimestamp" not in dependent["metadata"]:
                self.queue.add(_identity(dependent))
        if not blocking:
            self._release(document, _FOREGROUND)

    def _collect(self, document: Document, *, has_dependents: bool) -> None:
        absent: set[str] = set()
        going: set[str] = set()
        solid: set[str] = set()
        for owner in _references(document):
            current = self._find((owner["kind"], self._namespace(owner, document), owner["name"], owner["uid"]))
            chosen = absent if current is None else going if _waits(current, _FOREGROUND) else solid
            chosen.add(owner["uid"])
        if solid:
            if absent or going:
                self._disown(document, absent | going)
            return
        metadata = document["metadata"]
        if "deletionTimestamp" in metadata:
            return
        finalizers = metadata.get("finalizers") or ()
        if (going and has_dependents) or _FOREGROUND in finalizers:
            propagation = "Foreground"
        else:
            propagation = "Orphan" if _ORPHAN in finalizers else "Background"
        namespace = metadata.get("namespace", "")
        self.objects.delete(document["kind"], metadata["name"], namespace, propagation=propagation, uid=metadata["uid"])

    def _disown(self, document: Document, owners: set[str]) -> None:
        kept = [reference for reference in _references(document) if reference["uid"] not in owners]
        self.objects.update(with_metadata(document, ownerReferences=kept))

    def _release(self, document: Document, finalizer: str) -> None:
        kept = [name for name in document["metadata"]["finalizers"] if name != finalizer]
        self.objects.update(with_metadata(document, finalizers=kept))

    def _namespace(self, owner: Document, dependent: Document) -> str:
        """Return the namespace of an owner: its dependent's, or none where it is a cluster-wide kind."""
        namespaced = any(kind.kind == owner["kind"] and kind.namespaced for kind in self.cluster.kinds)
        return str(dependent["metadata"].get("namespace", "")) if namespaced else ""

    def _find(self, identity: Key) -> Document | None:
        return self._living(*identity)

    def _living(self, kind: str, namespace: str, name: str, uid: str) -> Document | None:
        document = self.objects.get(kind, name, namespace)
        return document if document is not None and document["metadata"]["uid"] == uid else None


def _identity(document: Document) -> Key:
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"], metadata["uid"]


def _references(document: Document) -> list[Document]:
    return document["metadata"].get("ownerReferences") or []


def _waits(document: Document, *finalizers: str) -> bool:
    """Tell whether the object is being deleted and still has one of these finalizers."""
    metadata = document["metadata"]
    return "deletionTimestamp" in metadata and any(name in finalizers for name in metadata.get("finalizers") or ())
