"""The namespace controller: deletes the content of a terminating namespace, then its finalizer.

After https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/namespace/deletion
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.timestamps import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_ALWAYS = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
)


class Namespaces(Controller):
    """Deletes all objects of a terminating namespace."""

    component = "namespace-controller"
    watches: ClassVar[tuple[str, ...]] = ()

    def keys(self, event: Event) -> Iterator[Key]:
        """Return a terminating namespace, or the namespace of a deleted object."""
        metadata = event.document["metadata"]
        if event.document["kind"] == "Namespace":
            if "deletionTimestamp" in metadata:
                yield (metadata["name"],)
        elif event.type == "DELETED" and metadata.get("namespace"):
            yield (metadata["namespace"],)

    async def reconcile(self, key: Key) -> None:
        """Delete the objects of the namespace; when it is empty, remove its finalizer."""
        (name,) = key
        namespace = self.objects.get("Namespace", name)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return
        for document in self._content(name):
            metadata = document["metadata"]
            if "deletionTimestamp" not in metadata:
                self.objects.delete(document["kind"], metadata["name"], name, uid=metadata["uid"])
        remaining = self._content(name)
        if remaining:
            self._report(namespace, remaining)
        else:
            self.objects.update({**namespace, "spec": {"finalizers": []}}, subresource="finalize")

    def _content(self, namespace: str) -> list[Document]:
        kinds = {kind.kind for kind in self.cluster.kinds if kind.namespaced and kind.stored}
        return [document for kind in sorted(kinds) for document in self.objects.list(kind, namespace)]

    def _report(self, namespace: Document, remaining: list[Document]) -> None:
        kinds = [self.cluster.kinds.of(document) for document in remaining]
        counted = Counter(f"{kind.plural}.{kind.group}" for kind in kinds)
        resources = ", ".join(
            f"{resource} has {count} resource instances" for resource, count in sorted(counted.items())
        )
        held = Counter(name for document in remaining for name in document["metadata"].get("finalizers") or ())
        finalizers = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(held.items()))
        states = [
            *((kind, "False", reason, text) for kind, reason, text in _ALWAYS),
            (
                "NamespaceContentRemaining",
                "True",
                "SomeResourcesRemain",
                f"Some resources are remaining: {resources}",
            ),
            (
                "NamespaceFinalizersRemaining",
                "True",
                "SomeFinalizersRemain",
                f"Some content in the namespace has finalizers remaining: {finalizers}",
            )
            if held
            else (
                "NamespaceFinalizersRemaining",
                "False",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
        ]
        status = namespace.get("status") or {}
        current = {condition["type"]: condition for condition in status.get("conditions") or ()}
        conditions = []
        for kind, state, reason, text in states:
            before = current.get(kind)
            since = before["lastTransitionTime"] if before and before["status"] == state else stamp()
            condition = {"type": kind, "status": state, "lastTransitionTime": since, "reason": reason, "message": text}
            conditions.append(condition)
        self.objects.update_status({**namespace, "status": {**status, "conditions": conditions}})
