"""The ReplicaSet controller: keeps the requested number of active pods.

After https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/replicaset/replica_set.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers import pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of, key_of, labels_of
from rehearsal_cloud.kubernetes.controllers.owners import claimed, controller_of
from rehearsal_cloud.kubernetes.controllers.timestamps import seconds_since, stamp
from rehearsal_cloud.kubernetes.failures import Failure
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_PHASES = ("Pending", "Unknown", "Running")
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


class ReplicaSets(Controller):
    """Creates and deletes pods, and counts them in the status."""

    component = "replicaset-controller"
    watches: ClassVar[tuple[str, ...]] = ("ReplicaSet", "Pod")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the ReplicaSet, the owner of the pod, or those whose selectors match an orphan."""
        document = event.document
        if document["kind"] == "ReplicaSet":
            yield key_of(document)
            return
        namespace = document["metadata"]["namespace"]
        owner = controller_of(document)
        if owner is None:
            for replica_set in self.objects.list("ReplicaSet", namespace):
                if matches_selector(replica_set["spec"]["selector"], labels_of(document)):
                    yield key_of(replica_set)
        elif owner["kind"] == "ReplicaSet":
            yield namespace, owner["name"]

    async def reconcile(self, key: Key) -> float | None:
        """Create or delete pods up to `spec.replicas`, then report."""
        namespace, name = key
        replica_set = self.objects.get("ReplicaSet", name, namespace)
        if replica_set is None:
            return None
        living = [pod for pod in claimed(self.objects, "Pod", replica_set) if not pods.is_done(pod)]
        active = [pod for pod in living if not pods.is_terminating(pod)]
        terminating = len(living) - len(active)
        fault: Failure | None = None
        surplus = len(active) - replica_set["spec"]["replicas"]
        if "deletionTimestamp" not in replica_set["metadata"] and surplus:
            try:
                active = self._delete(replica_set, active, surplus) if surplus > 0 else self._make(replica_set, active)
            except Failure as failure:
                fault = failure
        self._report(replica_set, active, terminating, fault, surplus)
        if fault is not None:
            raise fault
        return _until_available(replica_set, active)

    def _make(self, replica_set: Document, active: list[Document]) -> list[Document]:
        current = list(active)
        for _ in range(replica_set["spec"]["replicas"] - len(active)):
            try:
                pod = self.objects.create(pods.from_template(replica_set["spec"]["template"], replica_set))
            except Failure as failure:
                self.recorder.warning(replica_set, "FailedCreate", f"Error creating: {failure.message}")
                raise
            self.recorder.normal(replica_set, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
            current.append(pod)
        return current

    def _delete(self, replica_set: Document, active: list[Document], surplus: int) -> list[Document]:
        ranked = sorted(active, key=_deletion_rank)
        for pod in ranked[:surplus]:
            metadata = pod["metadata"]
            self.objects.delete("Pod", metadata["name"], metadata["namespace"], uid=metadata["uid"])
            self.recorder.normal(replica_set, "SuccessfulDelete", f"Deleted pod: {metadata['name']}")
        return ranked[surplus:]

    def _report(
        self, replica_set: Document, active: list[Document], terminating: int, fault: Failure | None, surplus: int
    ) -> None:
        before = replica_set.get("status") or {}
        spec = replica_set["spec"]
        labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        counts = {
            "replicas": len(active),
            "fullyLabeledReplicas": sum(labels.items() <= labels_of(pod).items() for pod in active),
            "readyReplicas": sum(map(pods.is_ready, active)),
            "availableReplicas": sum(pods.is_available(pod, spec.get("minReadySeconds", 0)) for pod in active),
        }
        conditions = [
            condition for condition in before.get("conditions") or () if condition["type"] != "ReplicaFailure"
        ]
        failed = pods.condition(replica_set, "ReplicaFailure")
        if fault is not None:
            # It stays as the first failure has it (calculateStatus in pkg/controller/replicaset/replica_set_utils.go):
            # a message with another pod's name would change the status, which would wake this controller at once.
            failed = failed or {
                "type": "ReplicaFailure",
                "status": "True",
                "lastTransitionTime": stamp(),
                "reason": "FailedCreate" if surplus < 0 else "FailedDelete",
                "message": fault.message,
            }
            conditions.append(failed)
        # Zero counts except the first are left out, as the type's omitempty does.
        status = {key: count for key, count in counts.items() if count or key == "replicas"}
        status["terminatingReplicas"] = terminating
        status["observedGeneration"] = replica_set["metadata"]["generation"]
        status |= {"conditions": conditions} if conditions else {}
        if status != before:
            self.objects.update_status({**replica_set, "status": status})


def _deletion_rank(pod: Document) -> tuple[object, ...]:
    """Return the sort key of a pod: the pods to delete first come first."""
    cost = int(annotations_of(pod).get(_DELETION_COST, "0"))
    return (
        bool(pod["spec"].get("nodeName")),
        _PHASES.index(pods.phase(pod)),
        pods.is_ready(pod),
        cost,
        pods.ready_seconds(pod),
        -pods.restarts(pod),
        seconds_since(pod["metadata"]["creationTimestamp"]),
    )


def _until_available(replica_set: Document, active: list[Document]) -> float | None:
    wait = replica_set["spec"].get("minReadySeconds", 0)
    remaining = [wait - pods.ready_seconds(pod) for pod in active if pods.is_ready(pod)]
    return min((seconds for seconds in remaining if seconds > 0), default=None)
