"""Objects in a cluster, as resources that converge: what is wanted is what the server itself says a write would make.

The plan is a dry run of the write, the same request with the same answer, so that defaults, admission and who owns
which field are the server's business. Source: https://kubernetes.io/docs/reference/using-api/server-side-apply
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflowaks.engine.changes import is_unknown
from airflowaks.engine.diff import compare
from airflowaks.engine.resource import Facts, Resource
from airflowaks.errors import InvalidObject, MissingDependency
from airflowaks.kube import rollouts
from airflowaks.kube.client import Document, Kube, connect
from airflowaks.kube.differences import differences
from airflowaks.kube.manifests import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflowaks.engine.changes import Difference
    from airflowaks.kube.manifests import Manifest, Values

# What of these the API never lets be changed is changed by making them anew: none of them holds anything.
_REPLACEABLE = ("Job", "RoleBinding", "ClusterRoleBinding", "StorageClass")
_DELETION_SECONDS = 300.0
_ATTEMPTS = 5


class KubeObject(Resource):
    """One object of a manifest, within its namespace, or (a namespace, a storage class) within the cluster itself."""

    def __init__(self, manifest: Manifest, *, parent: Resource, depends_on: Sequence[Resource] = ()) -> None:
        super().__init__(parent.session, manifest.reference.name, parent=parent, depends_on=depends_on)
        self.manifest = manifest
        self.reference = manifest.reference
        self.kind = self.reference.kind
        self._foreseen: tuple[Document, Document] | None = None

    @property
    def id(self) -> str:
        """Return what names it in the cluster: namespace, kind with its API group, and name."""
        group = self.reference.api_version.rpartition("/")[0]
        kind = f"{self.kind}.{group}" if group else self.kind
        return "/".join(filter(None, (self.reference.namespace, kind, self.name)))

    @property
    def kube(self) -> Kube:
        """The client of the environment's cluster."""
        return self.session.memoize(connect)

    def read(self) -> Facts | None:
        """Return the object, or None where it, its namespace or its kind does not exist."""
        return self.kube.get(self.reference)

    def desired(self) -> Facts:
        """Want what a dry run of the write answers, or the manifest where that cannot be asked."""
        return self._foresee() or self.manifest.fill()

    def differences(self) -> tuple[Difference, ...]:
        """Return where the object is not what a write would make it."""
        foreseen = self._foresee()
        if foreseen is None or self.facts is None:
            return compare(self.manifest.fill(), self.facts)
        return differences(foreseen, self.facts)

    def unfinished(self, facts: Facts) -> bool:
        """Tell whether the object is being deleted, which no write outlives."""
        return "deletionTimestamp" in facts["metadata"]

    def needs_rewrite(self, facts: Facts) -> bool:
        """Tell whether it is a Job that failed, which only a new one heals."""
        return self.kind == "Job" and rollouts.condition(facts, "Failed") is not None

    def write(self, facts: Facts | None) -> None:
        """Apply the manifest; a Job that failed, and what cannot be changed, is deleted first."""
        document = self.manifest.fill()
        if facts is not None and (self.needs_rewrite(facts) or self._foresee() is None):
            self.kube.delete(self.reference)
            self._await_deletion()
        self.kube.apply(document)

    def await_ready(self) -> None:
        """Return once a Deployment's pods are available, a Job is complete, a claim is bound. Raises RolloutFailed."""
        rollouts.await_ready(self.kube, self.reference, partial(setattr, self, "activity"))

    def _foresee(self) -> Document | None:
        """Return the answer of a dry run; None where the server cannot be asked, or refuses to change what there is."""
        document = self.manifest.fill()
        unasked = self.parent is not None and self.parent.facts is None
        if unasked or is_unknown(document) or (self.facts is None and self.session.applies):
            return None
        for _ in range(_ATTEMPTS):
            facts = self.facts
            if self._foreseen is None or self._foreseen[0] != document or not _same_version(self._foreseen[1], facts):
                try:
                    self._foreseen = document, self.kube.apply(document, dry_run=True)
                except InvalidObject:
                    if facts is not None and self.kind in _REPLACEABLE:
                        return None
                    raise
                except MissingDependency:
                    # A plan for a cluster whose add-ons are still to be enabled.
                    return None
            if facts is None or _same_version(self._foreseen[1], facts):
                break
            # Its controller has written meanwhile: what it wrote is no difference.
            self.refresh()
        return self._foreseen[1] if self._foreseen else None

    def _await_deletion(self) -> None:
        for document in self.kube.follow(self.reference, _DELETION_SECONDS):
            if document is None:
                return


def objects(folder: str, values: Values, *, parent: Resource, depends_on: Sequence[Resource] = ()) -> list[KubeObject]:
    """Return what the files of `manifests/<folder>/` describe, in their order. Raises InvalidManifest."""
    return [KubeObject(manifest, parent=parent, depends_on=depends_on) for manifest in load(folder, values)]


def _same_version(document: Mapping[str, Any], facts: Mapping[str, Any] | None) -> bool:
    return facts is not None and document["metadata"].get("resourceVersion") == facts["metadata"]["resourceVersion"]
