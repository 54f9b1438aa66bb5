"""The objects of a cluster, for the API, the controllers and the node to read, write, delete and watch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import Cause, already_exists, forbidden, invalid, not_found
from rehearsal_cloud.kubernetes.objects import lifecycle
from rehearsal_cloud.kubernetes.objects.decoding import decode
from rehearsal_cloud.kubernetes.objects.defaults import default
from rehearsal_cloud.kubernetes.objects.definitions import established
from rehearsal_cloud.kubernetes.objects.deletion import DeleteOptions, Deletion, deletion_of, is_removable
from rehearsal_cloud.kubernetes.objects.managed_fields import track
from rehearsal_cloud.kubernetes.objects.selectors import FieldSelector, LabelSelector
from rehearsal_cloud.kubernetes.objects.storage import Entry, Event, Storage, Subscription
from rehearsal_cloud.kubernetes.objects.validation import validate
from rehearsal_cloud.kubernetes.objects.validation.pods import ephemeral_containers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.kinds import Kind, Kinds
    from rehearsal_cloud.kubernetes.objects.schema import Schemas

    Admit = Callable[[Document, Document | None], Document]
    Review = Callable[[Document, Document | None], list[str]]
    Warn = Callable[[list[str]], None]

__all__ = ["Entry", "Event", "Objects", "Subscription"]

_MANAGER = "kube-controller-manager"


@dataclass(frozen=True, kw_only=True)
class Write:
    """The options of a write: `decoded` and `applied` mark steps already done to the document.

    `managed_as` is the subresource that managedFields name, where it writes a field of the object's main part: scale.
    `warn` takes the warnings of admission.
    """

    manager: str = _MANAGER
    subresource: str = ""
    managed_as: str = ""
    dry_run: bool = False
    decoded: bool = False
    applied: bool = False
    warn: Warn = lambda _: None


class Objects:
    """All objects of a cluster. It returns copies: change them, then write them back.

    `admit` and `review` are called before every write of an object's main part, with the stored object (None: it is
    new): the one completes the object, the other refuses it or returns warnings after it was validated. `minor` is the
    number of Kubernetes' minor version.
    """

    def __init__(
        self,
        file: Path,
        kinds: Kinds,
        schemas: Schemas,
        admit: Admit | None = None,
        review: Review | None = None,
        minor: Callable[[], int] = lambda: 35,
    ) -> None:
        self.kinds = kinds
        self.schemas = schemas
        self.admit = admit
        self.review = review
        self.minor = minor
        self.storage = Storage(file)
        for definition in self.list("CustomResourceDefinition"):
            self._define(definition)

    def close(self) -> None:
        """End the subscriptions and close the file."""
        self.storage.close()

    # Reading

    def get(self, kind: str, name: str, namespace: str = "") -> Document | None:
        """Return the object, or None."""
        text = self.storage.get(kind, namespace, name)
        return None if text is None else json.loads(text)

    def entries(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Entry]:
        """Return the objects of `list` as stored JSON, which takes no further memory."""
        if not (labels or fields):
            return self.storage.scan(kind, namespace)
        return [entry for entry, _ in self._selected(kind, namespace, labels, fields)]

    def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Document]:
        """Return the objects in one namespace, or in all, that match the selectors, ordered by name."""
        return [document for _, document in self._selected(kind, namespace, labels, fields)]

    def _selected(self, kind: str, namespace: str, labels: str, fields: str) -> Iterator[tuple[Entry, Document]]:
        by_label = LabelSelector(labels) if labels else None
        by_field = FieldSelector(fields, self.kinds.named(kind)) if fields else None
        for entry in self.storage.scan(kind, namespace):
            if by_field and not by_field.may_match(entry.text):
                continue
            document = json.loads(entry.text)
            if (not by_label or by_label.matches(document)) and (not by_field or by_field.matches(document)):
                yield entry, document

    def subscribe(self, *kinds: str) -> Subscription:
        """Return the future changes of these kinds (without arguments: of all)."""
        return self.storage.subscribe(*kinds)

    # Writing

    def create(self, document: Document, *, manager: str = _MANAGER) -> Document:
        """Create the object and return it as stored. Raises Failure (409, 422, 403, 404)."""
        return self.create_as(document, Write(manager=manager))

    def create_as(self, document: Document, write: Write) -> Document:
        """Create the object with the options of a request."""
        kind = self.kinds.of(document)
        created = default(kind, lifecycle.new_object(kind, self._decoded(kind, document, write)))
        self._check_namespace(kind, created)
        name, namespace = created["metadata"]["name"], created["metadata"].get("namespace", "")
        created = self._prepared(kind, created, None, write)
        if self.storage.get(kind.kind, namespace, name) is not None:
            raise already_exists(kind, name)
        return created if write.dry_run else self._put(kind, created)

    def update(self, document: Document, *, subresource: str = "", manager: str = _MANAGER) -> Document:
        """Replace the stored object and return it as stored.

        An update without changes writes nothing. Raises Failure: 404 for a missing object, 409 where the document's
        resourceVersion is stale, 422 and 403.
        """
        return self.update_as(document, Write(manager=manager, subresource=subresource))

    def update_as(self, document: Document, write: Write) -> Document:
        """Update the object with the options of a request."""
        kind = self.kinds.of(document)
        document = default(kind, self._decoded(kind, document, write))
        metadata = document["metadata"]
        old = self.get(kind.kind, metadata["name"], metadata.get("namespace", ""))
        if old is None:
            raise not_found(kind, metadata["name"])
        lifecycle.check_current(kind, document, old)
        new = lifecycle.updated(kind, document, old, write.subresource)
        new = self._prepared(kind, new, old, write)
        if lifecycle.is_unchanged(new, old):
            return old
        if write.dry_run:
            return new
        return self._remove(kind, new) if is_removable(new) else self._put(kind, new)

    def update_status(self, document: Document, *, manager: str = _MANAGER) -> Document:
        """Write only the object's status."""
        return self.update(document, subresource="status", manager=manager)

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str = "",
        *,
        propagation: str | None = "Background",
        grace: int | None = None,
        uid: str = "",
    ) -> Deletion:
        """Delete the object, or mark it where its finalizers or its node must act first. Raises Failure (404, 409)."""
        options = DeleteOptions(propagation=propagation, grace=grace, uid=uid)
        return self.delete_with(self.kinds.named(kind), name, namespace, options)

    def delete_with(self, kind: Kind, name: str, namespace: str, options: DeleteOptions) -> Deletion:
        """Delete the object with the options of a request."""
        old = self.get(kind.kind, name, namespace)
        if old is None:
            raise not_found(kind, name)
        deletion = deletion_of(kind, old, options)
        if options.dry_run or (lifecycle.is_unchanged(deletion.document, old) and not deletion.gone):
            return deletion
        if deletion.gone:
            return Deletion(self._remove(kind, deletion.document), gone=True)
        return Deletion(self._put(kind, deletion.document), gone=False)

    def remove(self, kind: str, name: str, namespace: str = "", uid: str = "") -> None:
        """Remove an object after its graceful deletion; finalizers may still keep it."""
        old = self.get(kind, name, namespace)
        if old is None or (uid and old["metadata"]["uid"] != uid):
            return
        described = self.kinds.named(kind)
        if lifecycle.has_finalizers(old):
            self._put(described, lifecycle.marked_for_deletion(old, 0))
        else:
            self._remove(described, old)

    # Rules

    def _decoded(self, kind: Kind, document: Document, write: Write) -> Document:
        return document if write.decoded else decode(self.schemas, kind, document, "Ignore")[0]

    def _prepared(self, kind: Kind, new: Document, old: Document | None, write: Write) -> Document:
        if not write.applied:
            below = write.managed_as or write.subresource
            new = track(self.schemas, kind, old, new, manager=write.manager, subresource=below)
        debugging = write.subresource == lifecycle.EPHEMERAL_CONTAINERS
        if write.subresource and not debugging:
            return new
        if self.admit is not None:
            new = self.admit(new, old)
        if debugging and old:
            wrong = ephemeral_containers(new, old)
        else:
            wrong = validate(self.schemas, kind, new, old, self.minor())
        if wrong:
            raise invalid(kind, new["metadata"]["name"], wrong)
        if self.review is not None and not write.managed_as:
            write.warn(self.review(new, old))
        return new

    def _check_namespace(self, kind: Kind, document: Document) -> None:
        """Raise Failure where the object's namespace is missing (404) or terminating (403)."""
        if not kind.namespaced:
            return
        name = document["metadata"].get("namespace", "")
        namespace = self.get("Namespace", name)
        if namespace is None:
            raise not_found(self.kinds.named("Namespace"), name)
        if lifecycle.is_terminating(namespace):
            why = f"unable to create new content in namespace {name} because it is being terminated"
            cause = Cause("NamespaceTerminating", "metadata.namespace", f"namespace {name} is being terminated")
            raise forbidden(kind, document["metadata"]["name"], why, [cause])

    def _put(self, kind: Kind, document: Document) -> Document:
        if kind.kind == "CustomResourceDefinition":
            document = established(document)
            self._define(document)
        return self.storage.put(kind.kind, document)

    def _remove(self, kind: Kind, document: Document) -> Document:
        if kind.kind == "CustomResourceDefinition":
            for stored in self.list(document["spec"]["names"]["kind"]):
                self.storage.remove(document["spec"]["names"]["kind"], stored)
            self.kinds.forget(document)
            self.schemas.forget(document)
        return self.storage.remove(kind.kind, document)

    def _define(self, definition: Document) -> None:
        self.kinds.define(definition)
        self.schemas.define(definition)
