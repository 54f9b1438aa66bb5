"""The scheduler: binds each pod to a node that fits, or reports the reason.

Reasons as https://github.com/kubernetes/kubernetes/tree/master/pkg/scheduler/framework/plugins words them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers import node_fit, pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of, key_of, with_metadata
from rehearsal_cloud.kubernetes.controllers.timestamps import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

SELECTED_NODE = "volume.kubernetes.io/selected-node"
_SCHEDULED = "PodScheduled"


class Scheduler(Controller):
    """Binds pods to nodes; retries unschedulable pods when a node, pod or claim changes."""

    component = "default-scheduler"
    watches: ClassVar[tuple[str, ...]] = ("Pod", "Node", "PersistentVolumeClaim", "StorageClass")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the pod, or all pending pods when a node, pod or claim changes."""
        document = event.document
        if document["kind"] == "Pod" and event.type != "DELETED" and not document["spec"].get("nodeName"):
            yield key_of(document)
        elif document["kind"] != "Pod" or event.type == "DELETED" or pods.is_done(document):
            for pod in self.objects.list("Pod"):
                if self._waits(pod):
                    yield key_of(pod)

    @staticmethod
    def _waits(pod: Document) -> bool:
        spec = pod["spec"]
        default_scheduler = spec.get("schedulerName", "default-scheduler") == "default-scheduler"
        free = not spec.get("nodeName") and not spec.get("schedulingGates")
        return default_scheduler and free and not pods.is_terminating(pod) and not pods.is_done(pod)

    async def reconcile(self, key: Key) -> None:
        """Bind the pod to the fitting node with the fewest pods, or report why no node fits."""
        namespace, name = key
        pod = self.objects.get("Pod", name, namespace)
        if pod is None or not self._waits(pod):
            return
        nodes = self.objects.list("Node")
        if not nodes:
            self._refuse(pod, "no nodes available to schedule pods")
            return
        unbound, problem = self._claims(pod)
        if problem:
            self._refuse(pod, f"0/{len(nodes)} nodes are available: {problem}. not found")
            return
        placed = [
            other_pod
            for other_pod in self.objects.list("Pod")
            if other_pod["spec"].get("nodeName") and not pods.is_done(other_pod)
        ]
        reasons: Counter[str] = Counter()
        helpful: Counter[str] = Counter()
        fitting = []
        for node in nodes:
            wrong = node_fit.reasons(pod, node, placed, nodes)
            reasons.update(wrong)
            if not wrong:
                fitting.append(node)
            elif all(map(node_fit.is_resolvable, wrong)):
                helpful["No preemption victims found for incoming pod"] += 1
        if not fitting:
            listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
            self._refuse(pod, f"0/{len(nodes)} nodes are available: {listed}. {_no_preemption(nodes, helpful)}")
            return
        load = Counter(other_pod["spec"]["nodeName"] for other_pod in placed)
        node = min(fitting, key=lambda candidate: (load[candidate["metadata"]["name"]], candidate["metadata"]["name"]))
        if unbound:
            self._select_node(unbound, node)
            return  # the claims wake us once they are bound
        self._bind(pod, node["metadata"]["name"])

    def _claims(self, pod: Document) -> tuple[list[Document], str]:
        """Return the claims that wait for this pod, and the problems of the remaining claims."""
        waiting = []
        for volume in pod["spec"].get("volumes") or ():
            if "persistentVolumeClaim" not in volume:
                continue
            name = volume["persistentVolumeClaim"]["claimName"]
            claim = self.objects.get("PersistentVolumeClaim", name, pod["metadata"]["namespace"])
            if claim is None:
                return [], f'persistentvolumeclaim "{name}" not found'
            if "deletionTimestamp" in claim["metadata"]:
                return [], f'persistentvolumeclaim "{name}" is being deleted'
            if (claim.get("status") or {}).get("phase") == "Lost":
                return [], f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume'
            if (claim.get("status") or {}).get("phase") == "Bound":
                continue
            class_name = claim["spec"].get("storageClassName")
            storage_class = self.objects.get("StorageClass", class_name) if class_name else None
            if storage_class is None or storage_class.get("volumeBindingMode") != "WaitForFirstConsumer":
                return [], "pod has unbound immediate PersistentVolumeClaims"
            waiting.append(claim)
        return waiting, ""

    def _select_node(self, claims: list[Document], node: Document) -> None:
        for claim in claims:
            chosen = annotations_of(claim) | {SELECTED_NODE: node["metadata"]["name"]}
            self.objects.update(with_metadata(claim, annotations=chosen))

    def _bind(self, pod: Document, node: str) -> None:
        namespace, name = key_of(pod)
        # The condition first: as soon as the pod has its node, the kubelet owns its status.
        pod = self._report(pod, {"status": "True"})
        pod = self.objects.update({**pod, "spec": {**pod["spec"], "nodeName": node}}, subresource="binding")
        self.recorder.normal(pod, "Scheduled", f"Successfully assigned {namespace}/{name} to {node}")

    def _refuse(self, pod: Document, message: str) -> None:
        before = pods.condition(pod, _SCHEDULED)
        if before is None or before.get("message") != message:
            self._report(pod, {"status": "False", "reason": "Unschedulable", "message": message})
            self.recorder.warning(pod, "FailedScheduling", message)

    def _report(self, pod: Document, state: Document) -> Document:
        """Write the condition PodScheduled as kube-scheduler, and return the pod."""
        status, before = pod.get("status") or {}, pods.condition(pod, _SCHEDULED)
        since = before["lastTransitionTime"] if before and before["status"] == state["status"] else stamp()
        times = {"lastProbeTime": None, "lastTransitionTime": since}
        fresh = {"type": _SCHEDULED, **times, **state, "observedGeneration": pod["metadata"]["generation"]}
        conditions = [condition for condition in status.get("conditions") or () if condition["type"] != _SCHEDULED]
        status = {**status, "conditions": [*conditions, fresh]}
        return self.objects.update_status({**pod, "status": status}, manager="kube-scheduler")


def _no_preemption(nodes: list[Document], helpful: Counter[str]) -> str:
    hopeless = len(nodes) - sum(helpful.values())
    parts = [f"{count} {reason}" for reason, count in helpful.items()]
    parts += [f"{hopeless} Preemption is not helpful for scheduling"] if hopeless else []
    return f"no new claims to deallocate, preemption: 0/{len(nodes)} nodes are available: {', '.join(sorted(parts))}."
