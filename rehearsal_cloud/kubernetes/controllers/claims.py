"""The controllers of persistent volume claims: bind claims to volumes, and protect volumes and claims in use.

After https://github.com/kubernetes/kubernetes/tree/master/pkg/controller/volume/persistentvolume
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers import pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of, key_of, labels_of, with_metadata
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

PROVISIONER = "volume.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
_BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
_BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
_BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROTECTION = {
    "PersistentVolumeClaim": "kubernetes.io/pvc-protection",
    "PersistentVolume": "kubernetes.io/pv-protection",
}
"""The finalizers that keep what is in use."""


class Claims(Controller):
    """Finds a volume for each claim or has it provisioned; a key without a namespace is a volume's."""

    component = "persistentvolume-controller"
    watches: ClassVar[tuple[str, ...]] = ("PersistentVolumeClaim", "PersistentVolume", "StorageClass")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the claim and its volume, the volume and its claim, or all pending claims."""
        document = event.document
        if document["kind"] == "PersistentVolumeClaim":
            yield key_of(document)
            if document["spec"].get("volumeName"):
                yield "", document["spec"]["volumeName"]
            return
        if document["kind"] == "PersistentVolume":
            yield key_of(document)
            if reference := document["spec"].get("claimRef"):
                yield reference["namespace"], reference["name"]
                return
        for claim in self.objects.list("PersistentVolumeClaim"):
            if claim["status"].get("phase") == "Pending":
                yield key_of(claim)

    async def reconcile(self, key: Key) -> None:
        """Bind the claim, or set the volume's phase."""
        namespace, name = key
        if not namespace:
            volume = self.objects.get("PersistentVolume", name)
            if volume is not None:
                self._settle(volume)
            return
        claim = self.objects.get("PersistentVolumeClaim", name, namespace)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            return
        if _BIND_COMPLETED in annotations_of(claim):
            self._check(claim)
            return
        volume = self._volume_for(claim)
        if volume is not None:
            self._bind(claim, volume)
        elif not claim["spec"].get("volumeName"):
            self._provision(claim)

    def _settle(self, volume: Document) -> None:
        reference = volume["spec"].get("claimRef")
        if reference is None or not reference.get("uid"):
            phase = "Available"
        else:
            claim = self.objects.get("PersistentVolumeClaim", reference["name"], reference["namespace"])
            exists = claim is not None and claim["metadata"]["uid"] == reference["uid"]
            phase = "Bound" if exists else "Released"
        status = volume.get("status") or {}
        if status.get("phase") != phase:
            self.objects.update_status({**volume, "status": {**status, "phase": phase}})

    def _check(self, claim: Document) -> None:
        """Copy the volume's capacity to a bound claim, or report the claim as lost."""
        volume = self.objects.get("PersistentVolume", claim["spec"]["volumeName"])
        status = claim["status"]
        if volume is None:
            if status.get("phase") != "Lost":
                self.objects.update_status({**claim, "status": {"phase": "Lost"}})
                text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
                self.recorder.warning(claim, "ClaimLost", text)
            return
        expected = {
            "phase": "Bound",
            "accessModes": volume["spec"]["accessModes"],
            "capacity": volume["spec"]["capacity"],
        }
        if status != {**status, **expected}:
            self.objects.update_status({**claim, "status": {**status, **expected}})

    def _volume_for(self, claim: Document) -> Document | None:
        """Return the volume that the claim names or that is reserved for it, else the smallest that fits."""
        if name := claim["spec"].get("volumeName"):
            volume = self.objects.get("PersistentVolume", name)
            return volume if volume is not None and _free_for(volume, claim) else None
        free = [volume for volume in self.objects.list("PersistentVolume") if _free_for(volume, claim)]
        reserved = [volume for volume in free if volume["spec"].get("claimRef")]
        if reserved:
            return reserved[0]
        if self._binds_late(claim) and SELECTED_NODE not in annotations_of(claim):
            return None
        fitting = [volume for volume in free if _fits(volume, claim)]
        return min(fitting, key=lambda volume: amount(volume["spec"]["capacity"]["storage"]), default=None)

    def _binds_late(self, claim: Document) -> bool:
        storage_class = self.objects.get("StorageClass", claim["spec"].get("storageClassName") or "")
        return (storage_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer"

    def _bind(self, claim: Document, volume: Document) -> None:
        namespace, name = key_of(claim)
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "name": name,
            "namespace": namespace,
            "uid": claim["metadata"]["uid"],
            "resourceVersion": claim["metadata"]["resourceVersion"],
        }
        unbound = not (volume["spec"].get("claimRef") or {}).get("uid")
        if unbound:
            chosen = {} if volume["spec"].get("claimRef") else {_BOUND_BY_CONTROLLER: "yes"}
            volume = with_metadata(volume, annotations=annotations_of(volume) | chosen)
            volume = self.objects.update({**volume, "spec": {**volume["spec"], "claimRef": reference}})
        self._settle(volume)
        by_name = bool(claim["spec"].get("volumeName"))
        marks = {_BIND_COMPLETED: "yes"} | ({} if by_name else {_BOUND_BY_CONTROLLER: "yes"})
        claim = with_metadata(claim, annotations=annotations_of(claim) | marks)
        spec = {**claim["spec"], "volumeName": volume["metadata"]["name"]}
        self._check(self.objects.update({**claim, "spec": spec}))

    def _provision(self, claim: Document) -> None:
        """Request a volume from the class's provisioner, or report why there is none."""
        class_name = claim["spec"].get("storageClassName")
        if not class_name:
            text = "no persistent volumes available for this claim and no storage class is set"
            self.recorder.normal(claim, "FailedBinding", text)
            return
        storage_class = self.objects.get("StorageClass", class_name)
        if storage_class is None:
            text = f'storageclass.storage.k8s.io "{class_name}" not found'
            self.recorder.warning(claim, "ProvisioningFailed", text)
            return
        if self._binds_late(claim) and SELECTED_NODE not in annotations_of(claim):
            text = "waiting for first consumer to be created before binding"
            self.recorder.normal(claim, "WaitForFirstConsumer", text)
            return
        provisioner = storage_class["provisioner"]
        if annotations_of(claim).get(PROVISIONER) != provisioner:
            marks = annotations_of(claim) | {PROVISIONER: provisioner, _BETA_PROVISIONER: provisioner}
            claim = self.objects.update(with_metadata(claim, annotations=marks))
            text = (
                f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by"
                " the system administrator. If volume creation is delayed, please verify that the provisioner is"
                " running and correctly registered."
            )
            self.recorder.normal(claim, "ExternalProvisioning", text)


class StorageProtection(Controller):
    """Protects claims in use by pods, and volumes in use by claims, from deletion."""

    component = "persistentvolume-protection-controller"
    watches: ClassVar[tuple[str, ...]] = ("PersistentVolumeClaim", "PersistentVolume", "Pod")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the claim, the volume, or the claims of a pod that has ended."""
        document = event.document
        if document["kind"] != "Pod":
            yield key_of(document)
        elif event.type == "DELETED" or pods.is_done(document):
            for name in _claims_of(document):
                yield document["metadata"]["namespace"], name

    async def reconcile(self, key: Key) -> None:
        """Add the finalizer to a living object; remove it from a deleted object that is not in use."""
        namespace, name = key
        kind = "PersistentVolumeClaim" if namespace else "PersistentVolume"
        document, finalizer = self.objects.get(kind, name, namespace), PROTECTION[kind]
        if document is None:
            return
        finalizers = document["metadata"].get("finalizers") or []
        if "deletionTimestamp" not in document["metadata"]:
            if finalizer not in finalizers:
                self.objects.update(with_metadata(document, finalizers=[*finalizers, finalizer]))
        elif finalizer in finalizers and not self._used(document):
            kept = [item for item in finalizers if item != finalizer]
            self.objects.update(with_metadata(document, finalizers=kept))

    def _used(self, document: Document) -> bool:
        if document["kind"] == "PersistentVolume":
            return bool((document.get("status") or {}).get("phase") == "Bound")
        namespace, name = key_of(document)
        # A pod without a node uses nothing, and would wait for ever for a claim that is being deleted.
        return any(
            name in _claims_of(pod) and pod["spec"].get("nodeName") and not pods.is_done(pod)
            for pod in self.objects.list("Pod", namespace)
        )


def _claims_of(pod: Document) -> list[str]:
    volumes = pod["spec"].get("volumes") or ()
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if volume.get("persistentVolumeClaim")]


def _free_for(volume: Document, claim: Document) -> bool:
    if "deletionTimestamp" in volume["metadata"]:
        return False
    reference = volume["spec"].get("claimRef")
    if reference is None:
        return True
    is_reserved = (reference["namespace"], reference["name"]) == key_of(claim)
    return is_reserved and reference.get("uid", claim["metadata"]["uid"]) == claim["metadata"]["uid"]


def _fits(volume: Document, claim: Document) -> bool:
    offered, requested = volume["spec"], claim["spec"]
    large = amount(offered["capacity"]["storage"]) >= amount(requested["resources"]["requests"]["storage"])
    same_kind = all(
        (offered.get(key) or default) == (requested.get(key) or default)
        for key, default in (("storageClassName", ""), ("volumeMode", "Filesystem"))
    )
    selected = matches_selector(requested.get("selector") or {}, labels_of(volume))
    return large and same_kind and selected and set(requested["accessModes"]) <= set(offered["accessModes"])
