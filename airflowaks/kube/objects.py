"""Kubernetes objects as resources that converge: the desired state is the server's answer to a dry run.

The plan sends the same request as the write, so the server decides on defaults, admission and field ownership. Source:
https://kubernetes.io/docs/reference/using-api/server-side-apply
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflowaks.engine.changes import is_unknown
from airflowaks.engine.diff import compare
from airflowaks.engine.resource import Facts, Resource
from airflowaks.errors import FieldConflict, Forbidden, InvalidObject, MissingDependency
from airflowaks.kube import rollouts
from airflowaks.kube.additions import Addition, additions, removal
from airflowaks.kube.client import FIELD_MANAGER, JSON_PATCH, Document, Kube, connect
from airflowaks.kube.differences import differences
from airflowaks.kube.manifests import load
from airflowaks.kube.ownership import Ownership, dated, holder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflowaks.engine.changes import Difference
    from airflowaks.kube.manifests import Manifest, Values

# To change an immutable field of these kinds, the object is deleted and created again; none of them holds data.
_REPLACEABLE = ("Job", "RoleBinding", "ClusterRoleBinding", "StorageClass")
_DELETION_SECONDS = 300.0
_ATTEMPTS = 5


class KubeObject(Resource):
    """One object of a manifest; its parent is the namespace, or the cluster for a cluster-scoped object."""

    def __init__(self, manifest: Manifest, *, parent: Resource, depends_on: Sequence[Resource] = ()) -> None:
        super().__init__(parent.session, manifest.reference.name, parent=parent, depends_on=depends_on)
        self.manifest = manifest
        self.reference = manifest.reference
        self.kind = self.reference.kind
        self.is_awaited = True
        """Whether an apply waits until it is ready."""
        self._foreseen: tuple[tuple[Document, bool], Document] | None = None

    @property
    def id(self) -> str:
        """Return namespace, kind with API group, and name."""
        group = self.reference.api_version.rpartition("/")[0]
        kind = f"{self.kind}.{group}" if group else self.kind
        return "/".join(filter(None, (self.reference.namespace, kind, self.name)))

    @property
    def kube(self) -> Kube:
        """The client of the environment's cluster."""
        return self.session.memoize(connect)

    def read(self) -> Facts | None:
        """Return the object, or None if the object, its namespace or its kind does not exist."""
        return self.kube.get(self.reference)

    def desired(self) -> Facts:
        """Return the answer of a dry run, or the manifest if no dry run is possible."""
        return self._foresee() or self.manifest.fill()

    def differences(self) -> tuple[Difference, ...]:
        """Return the differences between the object and the dry run's answer."""
        foreseen = self._foresee()
        if foreseen is None or self.facts is None:
            return compare(self.manifest.fill(), self.facts)
        return differences(foreseen, self.facts)

    def holder(self, path: str) -> str:
        """Return who else has set a field and when, as its manager is called; empty if nobody has."""
        return holder(self.facts, path) if self.facts else ""

    def additions(self) -> list[Addition]:
        """Return what others have added to the object; where that is what the server sets by itself, nothing."""
        document = self.facts
        if document is None or not (added := additions(document, self.desired())):
            return []
        _, *patch = removal(document, added)
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All"}
        without = self.kube.request("PATCH", self.kube.path(self.reference), query, patch, JSON_PATCH)
        return added if differences(without, document) else []

    @property
    def _takes_over(self) -> bool:
        return self.session.memoize(Ownership).is_taken

    def unfinished(self, facts: Facts) -> bool:
        """Tell whether the object is being deleted, so that a write would be lost."""
        return "deletionTimestamp" in facts["metadata"]

    def needs_rewrite(self, facts: Facts) -> bool:
        """Tell whether the object is a failed Job, which must be created again."""
        return self.kind == "Job" and bool(rollouts.failure_of(facts))

    def write(self, facts: Facts | None) -> None:
        """Apply the manifest; a failed Job, or an object with a changed immutable field, is deleted first."""
        document = self.manifest.fill()
        if facts is not None and (self.needs_rewrite(facts) or self._foresee() is None):
            self.kube.delete(self.reference)
            self._await_deletion()
        self.kube.apply(document, force=self._takes_over)

    def await_ready(self) -> None:
        """Wait until a Deployment is available, a Job complete or a claim bound. Raises RolloutFailed."""
        if self.is_awaited:
            rollouts.await_ready(self.kube, self.reference, partial(setattr, self, "activity"))

    def delete(self) -> None:
        """Delete the object; what it owns follows in the background."""
        self.kube.delete(self.reference)

    def _foresee(self) -> Document | None:
        """Return the answer of a dry run; None if it is not possible, or if the server refuses to change the object.

        The caller of a check may have no right to patch, which a dry run takes; then the manifest alone is compared.
        """
        document = self.manifest.fill()
        unasked = self.parent is not None and self.parent.facts is None
        if unasked or is_unknown(document) or (self.facts is None and self.session.applies):
            return None
        asked = document, self._takes_over
        for _ in range(_ATTEMPTS):
            facts = self.facts
            if self._foreseen is None or self._foreseen[0] != asked or not _same_version(self._foreseen[1], facts):
                try:
                    self._foreseen = asked, self._dry_run(document)
                except Forbidden as error:
                    if self.session.mode != "check":
                        raise
                    self.unread = f"its defaults need {error.needs}"
                    return None
                except InvalidObject:
                    if facts is not None and self.kind in _REPLACEABLE:
                        return None
                    raise
                except MissingDependency:
                    # The plan is for a cluster whose add-ons are not enabled yet.
                    return None
            if facts is None or _same_version(self._foreseen[1], facts):
                break
            # A controller has updated the object meanwhile; its change is not a difference.
            self.refresh()
        return self._foreseen[1] if self._foreseen else None

    def _dry_run(self, document: Document) -> Document:
        try:
            return self.kube.apply(document, dry_run=True, force=self._takes_over)
        except FieldConflict as error:
            raise dated(error, self.facts) from None

    def _await_deletion(self) -> None:
        for document in self.kube.follow(self.reference, _DELETION_SECONDS):
            if document is None:
                return


def objects(folder: str, values: Values, *, parent: Resource, depends_on: Sequence[Resource] = ()) -> list[KubeObject]:
    """Return the objects of `manifests/<folder>/` in the order of the files. Raises InvalidManifest."""
    return [KubeObject(manifest, parent=parent, depends_on=depends_on) for manifest in load(folder, values)]


def _same_version(document: Mapping[str, Any], facts: Mapping[str, Any] | None) -> bool:
    return facts is not None and document["metadata"].get("resourceVersion") == facts["metadata"]["resourceVersion"]
