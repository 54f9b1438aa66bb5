"""The Deployment controller: replaces one revision of pods by the next as the strategy allows, and keeps the history.

After https://github.com/kubernetes/kubernetes/tree/master/pkg/controller/deployment
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers import deployment_status as progress
from rehearsal_cloud.kubernetes.controllers import pods, rollout
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of, key_of, labels_of, with_metadata
from rehearsal_cloud.kubernetes.controllers.owners import claimed, controlled_by, controller_of, reference_to
from rehearsal_cloud.kubernetes.controllers.revisions import (
    DESIRED_REPLICAS,
    HASH,
    REVISION,
    advanced,
    copied_annotations,
    next_revision,
    revision,
    scaled_annotations,
    template_hash,
    without_hash,
)
from rehearsal_cloud.kubernetes.failures import Failure
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_ALREADY_EXISTS = 409


class Deployments(Controller):
    """Creates a ReplicaSet for each template, scales them, and reports the progress of the roll-out."""

    component = "deployment-controller"
    watches: ClassVar[tuple[str, ...]] = ("Deployment", "ReplicaSet", "Pod")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the Deployment, or the owner of a ReplicaSet or of an ended pod (Recreate waits for those)."""
        document = event.document
        if document["kind"] == "Deployment":
            yield key_of(document)
            return
        namespace = document["metadata"]["namespace"]
        owner = controller_of(document)
        if document["kind"] == "Pod":
            ended = event.type == "DELETED" or pods.is_done(document)
            if not ended or owner is None or owner["kind"] != "ReplicaSet":
                return
            replica_set = self.objects.get("ReplicaSet", owner["name"], namespace)
            owner = controller_of(replica_set) if replica_set else None
            if owner is None:
                return
        if owner is None:
            for deployment in self.objects.list("Deployment", namespace):
                if matches_selector(deployment["spec"]["selector"], labels_of(document)):
                    yield key_of(deployment)
        elif owner["kind"] == "Deployment":
            yield namespace, owner["name"]

    async def reconcile(self, key: Key) -> float | None:
        """Take the next possible step of the roll-out, and report."""
        namespace, name = key
        deployment = self.objects.get("Deployment", name, namespace)
        if deployment is None:
            return None
        owned = claimed(self.objects, "ReplicaSet", deployment)
        owned.sort(key=lambda replica_set: [replica_set["metadata"][key] for key in ("creationTimestamp", "name")])
        if "deletionTimestamp" in deployment["metadata"]:
            self._write(deployment, progress.counts(deployment, owned, self._new(deployment, owned)))
            return None
        deployment = self._write(deployment, progress.paused_or_resumed(deployment))
        if deployment["spec"].get("paused") or self._is_rescaled(deployment, owned):
            self._scale(deployment, owned)
        elif rollout.is_rolling(deployment):
            self._roll(deployment, owned)
        else:
            self._recreate(deployment, owned)
        remaining = progress.seconds_left(self.objects.get("Deployment", name, namespace) or deployment)
        # A second more, because timestamps are in whole seconds.
        return None if remaining is None or remaining < 0 else remaining + 1

    def _roll(self, deployment: Document, owned: list[Document]) -> None:
        deployment, new, old = self._with_new(deployment, owned)
        if new is None:
            return
        size = rollout.new_size(deployment, new, [new, *old])
        if size != new["spec"]["replicas"]:
            new = self._resize(deployment, new, size)
        else:
            sizes = rollout.old_sizes(deployment, new, old)
            old = [
                self._resize(deployment, replica_set, sizes.get(replica_set["metadata"]["name"])) for replica_set in old
            ]
        self._finish(deployment, new, old)

    def _recreate(self, deployment: Document, owned: list[Document]) -> None:
        new = self._new(deployment, owned)
        old = [replica_set for replica_set in owned if replica_set is not new]
        if rollout.requested(old):
            old = [self._resize(deployment, replica_set, 0) for replica_set in old]
        elif not self._runs(old):
            deployment, new, old = self._with_new(deployment, owned)
            if new is None:
                return
            new = self._resize(deployment, new, deployment["spec"]["replicas"])
        self._finish(deployment, new, old)

    def _runs(self, replica_sets: list[Document]) -> bool:
        uids = {replica_set["metadata"]["uid"] for replica_set in replica_sets}
        namespace = replica_sets[0]["metadata"]["namespace"] if replica_sets else ""
        listed = self.objects.list("Pod", namespace) if replica_sets else []
        return any((controller_of(pod) or {}).get("uid") in uids and not pods.is_done(pod) for pod in listed)

    def _finish(self, deployment: Document, new: Document | None, old: list[Document]) -> None:
        everyone = [*old, *([new] if new else [])]
        status = progress.rolled_out(deployment, everyone, new)
        if progress.is_complete(deployment, status):
            self._forget(deployment, old)
        self._write(deployment, status)

    # Scaling

    def _is_rescaled(self, deployment: Document, owned: list[Document]) -> bool:
        desired = str(deployment["spec"]["replicas"])
        annotated = (
            annotations_of(replica_set).get(DESIRED_REPLICAS)
            for replica_set in owned
            if replica_set["spec"]["replicas"]
        )
        return any(replicas is not None and replicas != desired for replicas in annotated)

    def _scale(self, deployment: Document, owned: list[Document]) -> None:
        deployment, new, old = self._with_new(deployment, owned, make=False)
        replicas: int = deployment["spec"]["replicas"]
        active = [
            replica_set for replica_set in (*old, new) if replica_set is not None and replica_set["spec"]["replicas"]
        ]
        latest = new or (old[-1] if old else None)
        if len(active) <= 1:
            only = active[0] if active else latest
            sizes = {only["metadata"]["name"]: replicas} if only else {}
        elif new is not None and self._is_saturated(deployment, new):
            sizes = {replica_set["metadata"]["name"]: 0 for replica_set in old if replica_set["spec"]["replicas"]}
        elif rollout.is_rolling(deployment):
            sizes = rollout.proportional_sizes(deployment, active)
        else:
            sizes = {}
        # Every ReplicaSet gets the new scale in its annotations, or the next reconcile would scale again.
        old = [self._resize(deployment, replica_set, sizes.get(replica_set["metadata"]["name"])) for replica_set in old]
        new = self._resize(deployment, new, sizes.get(new["metadata"]["name"])) if new else None
        everyone = [*old, *([new] if new else [])]
        if deployment["spec"].get("paused"):
            self._forget(deployment, old)
        self._write(deployment, progress.counts(deployment, everyone, new))

    @staticmethod
    def _is_saturated(deployment: Document, new: Document) -> bool:
        replicas = deployment["spec"]["replicas"]
        desired = annotations_of(new).get(DESIRED_REPLICAS)
        available = (new.get("status") or {}).get("availableReplicas", 0)
        return bool(new["spec"]["replicas"] == available == replicas and desired == str(replicas))

    def _resize(self, deployment: Document, replica_set: Document, size: int | None) -> Document:
        before = replica_set["spec"]["replicas"]
        after = before if size is None else size
        surge, _ = rollout.limits(deployment)
        annotations = annotations_of(replica_set)
        if after or size is not None:
            annotations = annotations | scaled_annotations(deployment["spec"]["replicas"], surge)
        metadata = {**replica_set["metadata"], "annotations": annotations}
        spec = {**replica_set["spec"], "replicas": after}
        resized = self.objects.update({**replica_set, "metadata": metadata, "spec": spec})
        if after != before:
            way, name = ("up" if after > before else "down"), replica_set["metadata"]["name"]
            text = f"Scaled {way} replica set {name} from {before} to {after}"
            self.recorder.normal(deployment, "ScalingReplicaSet", text)
        return resized

    # Revisions

    @staticmethod
    def _new(deployment: Document, owned: list[Document]) -> Document | None:
        template = without_hash(deployment["spec"]["template"])
        return next(
            (replica_set for replica_set in owned if without_hash(replica_set["spec"]["template"]) == template), None
        )

    def _with_new(
        self, deployment: Document, owned: list[Document], *, make: bool = True
    ) -> tuple[Document, Document | None, list[Document]]:
        """Return the Deployment, its new ReplicaSet with its revision brought up to date, and the old ones."""
        new = self._new(deployment, owned)
        old = [replica_set for replica_set in owned if replica_set is not new]
        if new is None and not make:
            return deployment, None, old
        current = next_revision(old)
        exists = new is not None
        if new is not None:
            annotations = advanced(annotations_of(new) | copied_annotations(deployment), current)
            spec = new["spec"]
            if wait := deployment["spec"].get("minReadySeconds"):
                spec = {**spec, "minReadySeconds": wait}
            elif "minReadySeconds" in spec:
                spec = {key: value for key, value in spec.items() if key != "minReadySeconds"}
            new = self.objects.update(
                {**new, "metadata": {**new["metadata"], "annotations": annotations}, "spec": spec}
            )
        else:
            deployment, new = self._make(deployment, old, current)
            if new is None:
                return deployment, None, old
        annotations = {**annotations_of(deployment), REVISION: str(revision(new))}
        # With the status, which counts no generation: measured with 1.36 (pkg/controller/deployment/sync.go).
        deployment = self.objects.update_status(with_metadata(deployment, annotations=annotations))
        status: Document = deployment.get("status") or {}
        condition = pods.condition(deployment, progress.PROGRESSING)
        if progress.has_deadline(deployment) and (condition is None or not exists):
            reason = "FoundNewReplicaSet" if exists else "NewReplicaSetCreated"
            verb = "Found" if exists else "Created"
            text = f'{verb} new replica set "{new["metadata"]["name"]}"'
            status = progress.with_condition(status, progress.PROGRESSING, "True", reason, text)
            deployment = self._write(deployment, status)
        return deployment, new, old

    def _make(self, deployment: Document, old: list[Document], current: int) -> tuple[Document, Document | None]:
        """Make the ReplicaSet of the Deployment's template."""
        spec = deployment["spec"]
        collisions = (deployment.get("status") or {}).get("collisionCount", 0)
        suffix = template_hash(spec["template"], collisions)
        template = without_hash(spec["template"])
        labels = {**template["metadata"]["labels"], HASH: suffix}
        selector = {**spec["selector"], "matchLabels": {**(spec["selector"].get("matchLabels") or {}), HASH: suffix}}
        size = rollout.new_size(deployment, None, old)
        surge, _ = rollout.limits(deployment)
        annotations = copied_annotations(deployment) | scaled_annotations(spec["replicas"], surge)
        name = f"{deployment['metadata']['name']}-{suffix}"
        replica_set = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": deployment["metadata"]["namespace"],
                "labels": labels,
                "annotations": annotations | {REVISION: str(current)},
                "ownerReferences": [reference_to(deployment)],
            },
            "spec": {
                "replicas": size,
                "selector": selector,
                "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
            }
            | ({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
        }
        try:
            created = self.objects.create(replica_set)
        except Failure as failure:
            if failure.code == _ALREADY_EXISTS and failure.reason == "AlreadyExists":
                return self._collided(deployment, name, collisions)
            text = f'Failed to create new replica set "{name}": {failure.message}'
            status = deployment.get("status") or {}
            failed = progress.with_condition(status, progress.PROGRESSING, "False", "ReplicaSetCreateError", text)
            self._write(deployment, failed)
            self.recorder.warning(deployment, "ReplicaSetCreateError", text)
            raise
        if size:
            text = f"Scaled up replica set {name} from 0 to {size}"
            self.recorder.normal(deployment, "ScalingReplicaSet", text)
        return deployment, created

    def _collided(self, deployment: Document, name: str, collisions: int) -> tuple[Document, Document | None]:
        existing = self.objects.get("ReplicaSet", name, deployment["metadata"]["namespace"])
        if existing is not None and controlled_by(existing, deployment):
            return deployment, existing
        status = {**(deployment.get("status") or {}), "collisionCount": collisions + 1}
        return self._write(deployment, status), None

    def _forget(self, deployment: Document, old: list[Document]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit")
        if limit is None:
            return
        past = [replica_set for replica_set in old if "deletionTimestamp" not in replica_set["metadata"]]
        for replica_set in sorted(past, key=revision)[: max(0, len(past) - limit)]:
            metadata, status = replica_set["metadata"], replica_set.get("status") or {}
            settled = metadata["generation"] <= status.get("observedGeneration", 0)
            if settled and not status.get("replicas") and not replica_set["spec"]["replicas"]:
                self.objects.delete("ReplicaSet", metadata["name"], metadata["namespace"], uid=metadata["uid"])

    def _write(self, deployment: Document, status: Document) -> Document:
        if status == (deployment.get("status") or {}):
            return deployment
        return self.objects.update_status({**deployment, "status": status})
