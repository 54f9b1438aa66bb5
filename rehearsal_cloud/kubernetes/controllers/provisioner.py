"""The provisioner of the Azure CSI drivers: creates a folder and its persistent volume for a claim.

Attributes of the volumes: https://github.com/kubernetes-sigs/azurefile-csi-driver/blob/master/docs/driver-parameters.md
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers.claims import PROVISIONER, SELECTED_NODE
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of, key_of, with_metadata
from rehearsal_cloud.kubernetes.persistent_volumes import mount_arguments, volume_folder
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

FILES = "file.csi.azure.com"
DISKS = "disk.csi.azure.com"
_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_SECONDS = 15.0
_RETRY_SECONDS = 1.0


class Provisioner(Controller):
    """Creates and enlarges volumes for claims, and deletes released volumes whose policy is Delete."""

    component = "file.csi.azure.com_csi-azurefile-controller"
    watches: ClassVar[tuple[str, ...]] = ("PersistentVolumeClaim", "PersistentVolume")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the claim, or the volume with no namespace."""
        yield key_of(event.document)

    async def reconcile(self, key: Key) -> float | None:
        """Create, enlarge or delete the volume of the claim, or the volume itself."""
        namespace, name = key
        if not namespace:
            await self._remove(name)
            return None
        claim = self.objects.get("PersistentVolumeClaim", name, namespace)
        if claim is None or annotations_of(claim).get(PROVISIONER) not in (FILES, DISKS):
            return None
        if "deletionTimestamp" in claim["metadata"]:
            return None
        if claim["spec"].get("volumeName"):
            self._enlarge(claim)
            return None
        storage_class = self.objects.get("StorageClass", claim["spec"]["storageClassName"])
        if storage_class is None:
            return None
        late = storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
        if late and SELECTED_NODE not in annotations_of(claim):
            return None
        return await self._make(claim, storage_class)

    async def _make(self, claim: Document, storage_class: Document) -> float | None:
        namespace, name = key_of(claim)
        volume = f"pvc-{claim['metadata']['uid']}"
        if self.objects.get("PersistentVolume", volume) is not None:
            return None
        text = f'External provisioner is provisioning volume for claim "{namespace}/{name}"'
        self.recorder.normal(claim, "Provisioning", text)
        await asyncio.sleep(self.cluster.cloud.settings.scaled(_SECONDS))
        if self.objects.get("PersistentVolumeClaim", name, namespace) is None:
            return None
        breakdown = self.cluster.cloud.faults.breakdown("provision", name)
        if breakdown is not None:
            text = f'failed to provision volume with StorageClass "{storage_class["metadata"]["name"]}": '
            persistent_volume = self._volume(volume, claim, storage_class)
            self.recorder.warning(
                claim, "ProvisioningFailed", text + breakdown.message.format_map(mount_arguments(persistent_volume))
            )
            return _RETRY_SECONDS
        folder = volume_folder(self.cluster.folder, volume)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        self.objects.create(self._volume(volume, claim, storage_class), manager="csi-provisioner")
        self.recorder.normal(claim, "ProvisioningSucceeded", f"Successfully provisioned volume {volume}")
        return None

    def _volume(self, name: str, claim: Document, storage_class: Document) -> Document:
        driver = storage_class["provisioner"]
        metadata, spec = claim["metadata"], claim["spec"]
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        }
        options = storage_class.get("mountOptions")
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {_PROVISIONED_BY: driver}, "finalizers": [_FINALIZER]},
            "spec": {
                "accessModes": spec["accessModes"],
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "claimRef": reference,
                "csi": self._source(name, claim, storage_class),
                "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
                "storageClassName": storage_class["metadata"]["name"],
                "volumeMode": spec.get("volumeMode", "Filesystem"),
            }
            | ({"mountOptions": options} if options else {}),
        }

    def _source(self, name: str, claim: Document, storage_class: Document) -> Document:
        metadata, parameters = claim["metadata"], storage_class.get("parameters") or {}
        group = self.cluster.document["properties"]["nodeResourceGroup"]
        attributes = {
            "csi.storage.k8s.io/pv/name": name,
            "csi.storage.k8s.io/pvc/name": metadata["name"],
            "csi.storage.k8s.io/pvc/namespace": metadata["namespace"],
            "storage.kubernetes.io/csiProvisionerIdentity": storage_class["provisioner"],
            **parameters,
        }
        driver = storage_class["provisioner"]
        if driver == DISKS:
            subscription = self.cluster.document["id"].split("/")[2]
            handle = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/disks/{name}"
            return {"driver": driver, "volumeAttributes": attributes, "volumeHandle": handle}
        # One account for each kind of share, as the driver assigns accounts.
        account = f"f{hashlib.sha256(f'{group}{sorted(parameters.items())}'.encode()).hexdigest()[:22]}"
        return {
            "driver": driver,
            "nodeStageSecretRef": {
                "name": f"azure-storage-account-{account}-secret",
                "namespace": metadata["namespace"],
            },
            "volumeAttributes": attributes | {"secretnamespace": metadata["namespace"]},
            "volumeHandle": f"{group}#{account}#{name}###{metadata['namespace']}",
        }

    def _enlarge(self, claim: Document) -> None:
        volume = self.objects.get("PersistentVolume", claim["spec"]["volumeName"])
        requested = claim["spec"]["resources"]["requests"]["storage"]
        if volume is not None and amount(requested) > amount(volume["spec"]["capacity"]["storage"]):
            spec = {**volume["spec"], "capacity": {**volume["spec"]["capacity"], "storage": requested}}
            self.objects.update({**volume, "spec": spec}, manager="csi-resizer")

    async def _remove(self, name: str) -> None:
        volume = self.objects.get("PersistentVolume", name)
        if volume is None or annotations_of(volume).get(_PROVISIONED_BY) not in (FILES, DISKS):
            return
        kept = volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
        metadata = volume["metadata"]
        phase = (volume.get("status") or {}).get("phase")
        if "deletionTimestamp" in metadata:
            if _FINALIZER in (metadata.get("finalizers") or ()) and phase != "Bound":
                finalizers = [item for item in metadata["finalizers"] if item != _FINALIZER]
                self.objects.update(with_metadata(volume, finalizers=finalizers))
        elif phase == "Released" and not kept:
            await asyncio.to_thread(shutil.rmtree, volume_folder(self.cluster.folder, name), ignore_errors=True)
            self.objects.delete("PersistentVolume", name, uid=metadata["uid"])
