"""Disruption budgets: how many pods may be evicted now, and the eviction of pods.

https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers import pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import key_of, labels_of
from rehearsal_cloud.kubernetes.controllers.owners import controller_of
from rehearsal_cloud.kubernetes.controllers.rollout import resolved
from rehearsal_cloud.kubernetes.controllers.timestamps import stamp
from rehearsal_cloud.kubernetes.failures import Cause, internal, too_many_requests
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event, Objects

_BUDGET = "PodDisruptionBudget"
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_PROCESSING_SECONDS = 10


class Disruption(Controller):
    """Keeps the status of each budget."""

    component = "controllermanager"
    watches: ClassVar[tuple[str, ...]] = (_BUDGET, "Pod", "ReplicaSet", "Deployment", "StatefulSet")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the budget, or all of the namespace: a scale or a pod's labels may concern any of them."""
        if event.document["kind"] == _BUDGET:
            yield key_of(event.document)
        else:
            yield from map(key_of, self.objects.list(_BUDGET, event.document["metadata"]["namespace"]))

    async def reconcile(self, key: Key) -> None:
        """Count the healthy pods and the disruptions that they allow."""
        namespace, name = key
        budget = self.objects.get(_BUDGET, name, namespace)
        if budget is None:
            return
        chosen = _chosen(self.objects, budget)
        expected, desired = self._expected(budget, chosen)
        healthy = sum(pods.is_ready(pod) and not pods.is_terminating(pod) for pod in chosen)
        allowed = max(0, healthy - desired) if expected else 0
        status = budget.get("status") or {}
        state, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        before = pods.condition(budget, "DisruptionAllowed")
        generation = budget["metadata"]["generation"]
        condition = {
            "type": "DisruptionAllowed",
            "status": state,
            "reason": reason,
            "message": "",
            "observedGeneration": generation,
            "lastTransitionTime": before["lastTransitionTime"] if before and before["status"] == state else stamp(),
        }
        fresh = {
            "conditions": [condition],
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "expectedPods": expected,
            "observedGeneration": generation,
        }
        if status != fresh:
            self.objects.update_status({**budget, "status": fresh})

    def _expected(self, budget: Document, chosen: list[Document]) -> tuple[int, int]:
        """Return how many pods there should be, and how many of them must be healthy."""
        least = budget["spec"].get("minAvailable")
        if isinstance(least, int):
            return len(chosen), least
        total = self._scale(chosen)
        if least is not None:
            return total, resolved(least, total, up=True)
        most = resolved(budget["spec"].get("maxUnavailable", 0), total, up=True)
        return total, max(0, total - most)

    def _scale(self, chosen: list[Document]) -> int:
        """Return the sum of the scales of the pods' controllers."""
        scales: dict[str, int] = {}
        for pod in chosen:
            owner = self._owner(pod)
            if owner is not None and owner["kind"] == "ReplicaSet":
                owner = self._owner(owner) or owner
            if owner is not None and "replicas" in owner["spec"]:
                scales[owner["metadata"]["uid"]] = owner["spec"]["replicas"]
        return sum(scales.values())

    def _owner(self, document: Document) -> Document | None:
        reference = controller_of(document)
        if reference is None or not any(kind.kind == reference["kind"] for kind in self.cluster.kinds):
            return None
        return self.objects.get(reference["kind"], reference["name"], document["metadata"]["namespace"])


def evict(objects: Objects, pod: Document, *, grace: int | None = None) -> None:
    """Delete the pod if its disruption budget allows. Raises Failure (429) where it does not, (500) where two apply."""
    namespace, name = key_of(pod)
    ends = pods.is_done(pod) or pods.is_terminating(pod) or pods.phase(pod) == "Pending"
    if not ends:
        budgets = [budget for budget in objects.list(_BUDGET, namespace) if _covers(budget, pod)]
        if len(budgets) > 1:
            text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise internal(text)
        for budget in budgets:
            _spend(objects, budget, pod)
    objects.delete("Pod", name, namespace, grace=grace, uid=pod["metadata"]["uid"])


def _spend(objects: Objects, budget: Document, pod: Document) -> None:
    """Reduce the budget's allowed disruptions by one for the pod. Raises Failure (429) when none are left."""
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if not pods.is_ready(pod):
        always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        if always or healthy >= desired > 0:
            return
    if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
        text = f"The disruption budget {name} is still being processed by the server."
        cause = Cause("DisruptionBudget", "", text)
        raise too_many_requests(_REFUSED, [cause], _PROCESSING_SECONDS)
    if status.get("disruptionsAllowed", 0) <= 0:
        text = f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        raise too_many_requests(_REFUSED, [Cause("DisruptionBudget", "", text)])
    remaining = {"disruptionsAllowed": status["disruptionsAllowed"] - 1}
    objects.update_status({**budget, "status": {**status, **remaining}})


def _covers(budget: Document, pod: Document) -> bool:
    selector = budget["spec"].get("selector")
    return selector is not None and matches_selector(selector, labels_of(pod))


def _chosen(objects: Objects, budget: Document) -> list[Document]:
    listed = objects.list("Pod", budget["metadata"]["namespace"])
    return [pod for pod in listed if _covers(budget, pod)]
