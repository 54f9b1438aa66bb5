"""The StatefulSet controller: pods with stable names and claims, created, replaced and deleted in order.

After https://github.com/kubernetes/kubernetes/tree/master/pkg/controller/statefulset
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers import pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import key_of, labels_of
from rehearsal_cloud.kubernetes.controllers.owners import claimed, controlled_by, controller_of, reference_to
from rehearsal_cloud.kubernetes.controllers.revisions import template_hash
from rehearsal_cloud.kubernetes.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_REVISION = "controller-revision-hash"
_POD_NAME = "statefulset.kubernetes.io/pod-name"
_POD_INDEX = "apps.kubernetes.io/pod-index"


class StatefulSets(Controller):
    """Takes one step at a time unless the policy is Parallel: each pod waits until the pod before it is ready."""

    component = "statefulset-controller"
    watches: ClassVar[tuple[str, ...]] = ("StatefulSet", "Pod")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the StatefulSet, or the owner of the pod."""
        if event.document["kind"] == "StatefulSet":
            yield key_of(event.document)
            return
        owner = controller_of(event.document)
        if owner is not None and owner["kind"] == "StatefulSet":
            yield event.document["metadata"]["namespace"], owner["name"]

    async def reconcile(self, key: Key) -> None:
        """Take the next step, and report."""
        namespace, name = key
        stateful_set = self.objects.get("StatefulSet", name, namespace)
        if stateful_set is None or "deletionTimestamp" in stateful_set["metadata"]:
            return
        revisions = self._revisions(stateful_set)
        update = revisions[-1]
        current = self._current(stateful_set, revisions)
        self._step(stateful_set, current, update)
        self._report(stateful_set, current, update)

    # Revisions

    def _revisions(self, stateful_set: Document) -> list[Document]:
        """Return the revisions, the current template's last; create it where it is missing."""
        metadata, template = stateful_set["metadata"], stateful_set["spec"]["template"]
        listed = self.objects.list("ControllerRevision", metadata["namespace"])
        past = sorted(
            (revision for revision in listed if controlled_by(revision, stateful_set)),
            key=lambda revision: int(revision["revision"]),
        )
        present = next((revision for revision in past if revision["data"]["spec"]["template"] == template), None)
        number = past[-1]["revision"] + 1 if past else 1
        if present is None:
            suffix = template_hash(template, 0)
            present = self.objects.create(
                {
                    "apiVersion": "apps/v1",
                    "kind": "ControllerRevision",
                    "metadata": {
                        "name": f"{metadata['name']}-{suffix}",
                        "namespace": metadata["namespace"],
                        "labels": {**((template.get("metadata") or {}).get("labels") or {}), _REVISION: suffix},
                        "ownerReferences": [reference_to(stateful_set)],
                    },
                    "data": {"spec": {"template": template}},
                    "revision": number,
                }
            )
        elif present is not past[-1]:
            present = self.objects.update({**present, "revision": number})
        return [
            *(revision for revision in past if revision["metadata"]["name"] != present["metadata"]["name"]),
            present,
        ]

    @staticmethod
    def _current(stateful_set: Document, revisions: list[Document]) -> Document:
        """Return the revision of pods below the partition: the previous revision until the update is complete."""
        name = (stateful_set.get("status") or {}).get("currentRevision")
        return next((revision for revision in revisions if revision["metadata"]["name"] == name), revisions[-1])

    # Steps

    def _step(self, stateful_set: Document, current: Document, update: Document) -> None:
        owned = {_ordinal(pod): pod for pod in claimed(self.objects, "Pod", stateful_set)}
        if self._fill(stateful_set, owned, current, update) and self._trim(stateful_set, owned):
            self._roll(stateful_set, owned, update)

    def _fill(self, stateful_set: Document, owned: dict[int, Document], current: Document, update: Document) -> bool:
        """Create missing pods and delete ended ones; tell whether to continue."""
        for ordinal in _ordinals(stateful_set):
            pod = owned.get(ordinal)
            if pod is None:
                self._make(stateful_set, ordinal, current, update)
            elif pods.is_done(pod) and not pods.is_terminating(pod):
                self._delete(stateful_set, pod)
            if _in_order(stateful_set) and (pod is None or not self._is_settled(stateful_set, pod)):
                return False
        return True

    def _trim(self, stateful_set: Document, owned: dict[int, Document]) -> bool:
        """Delete surplus pods from the last on; tell whether to continue."""
        desired = _ordinals(stateful_set)
        for ordinal in sorted((number for number in owned if number not in desired), reverse=True):
            if not pods.is_terminating(owned[ordinal]):
                self._delete(stateful_set, owned[ordinal])
            if _in_order(stateful_set):
                return False
        return True

    def _roll(self, stateful_set: Document, owned: dict[int, Document], update: Document) -> None:
        """Replace the last outdated pod when those after it are ready."""
        if (stateful_set["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
            return
        for ordinal in reversed(_ordinals(stateful_set)[_partition(stateful_set) :]):
            pod = owned.get(ordinal)
            if pod is None:
                return
            if labels_of(pod).get(_REVISION) != update["metadata"]["name"] and not pods.is_terminating(pod):
                self._delete(stateful_set, pod)
                return
            if not self._is_settled(stateful_set, pod):
                return

    @staticmethod
    def _is_settled(stateful_set: Document, pod: Document) -> bool:
        wait = stateful_set["spec"].get("minReadySeconds", 0)
        return pods.is_available(pod, wait) and not pods.is_terminating(pod)

    def _make(self, stateful_set: Document, ordinal: int, current: Document, update: Document) -> None:
        metadata, spec = stateful_set["metadata"], stateful_set["spec"]
        name = f"{metadata['name']}-{ordinal}"
        updated = _ordinals(stateful_set)[_partition(stateful_set) :]
        revision = update if ordinal in updated else current
        pod = pods.from_template(revision["data"]["spec"]["template"], stateful_set)
        del pod["metadata"]["generateName"]
        labels = {_REVISION: revision["metadata"]["name"], _POD_NAME: name, _POD_INDEX: str(ordinal)}
        pod["metadata"] |= {"name": name, "labels": labels_of(pod) | labels}
        claims = spec.get("volumeClaimTemplates") or []
        volumes = [
            {
                "name": claim["metadata"]["name"],
                "persistentVolumeClaim": {"claimName": _claim_name(claim, name)},
            }
            for claim in claims
        ]
        claimed_names = {volume["name"] for volume in volumes}
        kept = [volume for volume in pod["spec"].get("volumes") or () if volume["name"] not in claimed_names]
        pod["spec"] = {**pod["spec"], "hostname": name, "volumes": [*kept, *volumes]}
        if spec.get("serviceName"):
            pod["spec"]["subdomain"] = spec["serviceName"]
        try:
            for claim in claims:
                self._claim(stateful_set, claim, name)
            self.objects.create(pod)
        except Failure as failure:
            text = f"create Pod {name} in StatefulSet {metadata['name']} failed error: {failure.message}"
            self.recorder.warning(stateful_set, "FailedCreate", text)
            raise
        text = f"create Pod {name} in StatefulSet {metadata['name']} successful"
        self.recorder.normal(stateful_set, "SuccessfulCreate", text)

    def _claim(self, stateful_set: Document, claim: Document, pod: str) -> None:
        """Create the pod's missing claim; the claim outlives the pod."""
        name, namespace = _claim_name(claim, pod), stateful_set["metadata"]["namespace"]
        if self.objects.get("PersistentVolumeClaim", name, namespace) is not None:
            return
        labels = labels_of(claim) | (stateful_set["spec"]["selector"].get("matchLabels") or {})
        metadata = {**claim["metadata"], "name": name, "namespace": namespace, "labels": labels}
        new_claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata,
            "spec": claim["spec"],
        }
        self.objects.create(new_claim)
        text = f"create Claim {name} Pod {pod} in StatefulSet {stateful_set['metadata']['name']} success"
        self.recorder.normal(stateful_set, "SuccessfulCreate", text)

    def _delete(self, stateful_set: Document, pod: Document) -> None:
        namespace, name = key_of(pod)
        self.objects.delete("Pod", name, namespace, uid=pod["metadata"]["uid"])
        text = f"delete Pod {name} in StatefulSet {stateful_set['metadata']['name']} successful"
        self.recorder.normal(stateful_set, "SuccessfulDelete", text)

    # Status

    def _report(self, stateful_set: Document, current: Document, update: Document) -> None:
        spec, before = stateful_set["spec"], stateful_set.get("status") or {}
        owned = claimed(self.objects, "Pod", stateful_set)
        alive = [pod for pod in owned if not pods.is_terminating(pod)]
        names = {"current": current["metadata"]["name"], "update": update["metadata"]["name"]}
        of = {way: sum(labels_of(pod).get(_REVISION) == name for pod in alive) for way, name in names.items()}
        ready = sum(map(pods.is_ready, alive))
        through = of["update"] == len(owned) == ready == spec["replicas"] and not _partition(stateful_set)
        if through:
            names["current"], of["current"] = names["update"], of["update"]
        counts = {"readyReplicas": ready, "currentReplicas": of["current"], "updatedReplicas": of["update"]}
        fresh = {
            "observedGeneration": stateful_set["metadata"]["generation"],
            "replicas": len(owned),
            **{key: count for key, count in counts.items() if count},
            "availableReplicas": sum(pods.is_available(pod, spec.get("minReadySeconds", 0)) for pod in alive),
            "currentRevision": names["current"],
            "updateRevision": names["update"],
            "collisionCount": before.get("collisionCount", 0),
        }
        if fresh != before:
            self.objects.update_status({**stateful_set, "status": fresh})


def _ordinal(pod: Document) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])


def _ordinals(stateful_set: Document) -> range:
    spec = stateful_set["spec"]
    first = (spec.get("ordinals") or {}).get("start", 0)
    return range(first, first + spec["replicas"])


def _in_order(stateful_set: Document) -> bool:
    return bool(stateful_set["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady")


def _partition(stateful_set: Document) -> int:
    rolling = (stateful_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return int(rolling.get("partition", 0))


def _claim_name(claim: Document, pod: str) -> str:
    return f"{claim['metadata']['name']}-{pod}"
