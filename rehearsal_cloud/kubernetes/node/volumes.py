"""The volumes of a pod: a volume is a folder, and a mount links a container's path to it."""

from __future__ import annotations

import asyncio
import base64
import shutil
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes import atomic_folder
from rehearsal_cloud.kubernetes.addons.secrets_store import DRIVER
from rehearsal_cloud.kubernetes.addons.secrets_store import MountFailed as DriverFailed
from rehearsal_cloud.kubernetes.node.fields import pod_field, resource_field
from rehearsal_cloud.kubernetes.persistent_volumes import mount_arguments, volume_folder

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.atomic_folder import Files
    from rehearsal_cloud.kubernetes.node.machine import Machine
    from rehearsal_cloud.kubernetes.node.projected_tokens import ProjectedTokens

_MODE = 0o644


class MountFailed(Exception):
    """A volume cannot be mounted; the message is the kubelet's."""


class StageFailed(MountFailed):
    """A share cannot be mounted on the node (staging); the message is the complete text of the kubelet's."""


class Volumes:
    """The volumes that a pod mounts; `folder` is the pod's."""

    def __init__(self, machine: Machine, folder: Path, tokens: ProjectedTokens) -> None:
        self._machine = machine
        self._cluster = machine.cluster
        self._folder = folder / "volumes"
        self._tokens = tokens
        self._places: dict[str, Path] = {}

    async def mount(self, pod: Document) -> None:
        """Mount all volumes; mounted ones stay. Raises MountFailed for the first that cannot be mounted."""
        for volume in pod["spec"].get("volumes") or []:
            if volume["name"] not in self._places:
                try:
                    self._places[volume["name"]] = await self._set_up(pod, volume)
                except StageFailed:
                    raise
                except MountFailed as fault:
                    text = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {fault}'
                    raise MountFailed(text) from None

    def place(self, name: str) -> Path:
        """Return the folder (or file) of a mounted volume."""
        return self._places[name]

    async def refresh(self, pod: Document) -> None:
        """Write the current content of config maps, Secrets, tokens and pod fields; missing sources keep theirs."""
        for volume in pod["spec"].get("volumes") or []:
            if volume["name"] in self._places:
                try:
                    files = await self._files(pod, volume)
                except MountFailed:
                    continue
                if files is not None:
                    atomic_folder.write(self._places[volume["name"]], files)

    async def unmount(self, pod: Document) -> None:
        """Unmount all volumes and remove those with the pod's lifetime."""
        for volume in pod["spec"].get("volumes") or []:
            if (volume.get("csi") or {}).get("driver") == DRIVER:
                await self._machine.secrets_store.unmount(pod, volume, self._folder / volume["name"])
        self._places.clear()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _set_up(self, pod: Document, volume: Document) -> Path:
        place = self._folder / str(volume["name"])
        if "persistentVolumeClaim" in volume:
            return self._claimed(pod, volume["persistentVolumeClaim"]["claimName"])
        if "hostPath" in volume:
            raise MountFailed("hostPath type check failed: the rehearsal's node has no file system of its own")
        files = await self._files(pod, volume)
        if files is not None:
            atomic_folder.write(place, files)
            return place
        place.mkdir(parents=True, exist_ok=True)
        if "csi" in volume:
            await self._publish(pod, volume, place)
        return place

    async def _publish(self, pod: Document, volume: Document, place: Path) -> None:
        driver = volume["csi"]["driver"]
        if driver != DRIVER:
            text = f"kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name {driver} not found in the"
            raise MountFailed(f"{text} list of registered CSI drivers")
        try:
            await self._machine.secrets_store.mount(pod, volume, place)
        except DriverFailed as fault:
            raise MountFailed(str(fault)) from None

    def _claimed(self, pod: Document, name: str) -> Path:
        objects, namespace = self._cluster.objects, pod["metadata"]["namespace"]
        claim = objects.get("PersistentVolumeClaim", name, namespace)
        volume = claim and objects.get("PersistentVolume", claim["spec"].get("volumeName") or "")
        if claim is None or volume is None:
            raise MountFailed(f'persistentvolumeclaim "{name}" not found' if claim is None else "PVC is not bound")
        breakdown = self._cluster.cloud.faults.breakdown("mount", name)
        if breakdown is not None:
            text = f'MountVolume.MountDevice failed for volume "{volume["metadata"]["name"]}" : '
            raise StageFailed(text + breakdown.message.format_map(mount_arguments(volume)))
        place = volume_folder(self._cluster.folder, volume["metadata"]["name"])
        place.mkdir(parents=True, exist_ok=True)
        return place

    # Volumes of objects

    async def _files(self, pod: Document, volume: Document) -> Files | None:
        if "configMap" in volume:
            source = volume["configMap"]
            return self._entries(pod, "ConfigMap", source.get("name", ""), source, source.get("defaultMode", _MODE))
        if "secret" in volume:
            source = volume["secret"]
            return self._entries(pod, "Secret", source.get("secretName", ""), source, source.get("defaultMode", _MODE))
        if "downwardAPI" in volume:
            return self._fields(pod, volume["downwardAPI"], volume["downwardAPI"].get("defaultMode", _MODE))
        if "projected" in volume:
            mode = volume["projected"].get("defaultMode", _MODE)
            files: Files = {}
            for source in volume["projected"].get("sources") or []:
                files |= await self._projected(pod, source, mode)
            return files
        return None

    async def _projected(self, pod: Document, source: Document, mode: int) -> Files:
        if "serviceAccountToken" in source:
            request = source["serviceAccountToken"]
            token = self._tokens.token(pod, request.get("audience", ""), request.get("expirationSeconds", 3600))
            return {request["path"]: (token.encode(), mode)}
        if "downwardAPI" in source:
            return self._fields(pod, source["downwardAPI"], mode)
        kind, reference = ("ConfigMap", source["configMap"]) if "configMap" in source else ("Secret", source["secret"])
        return self._entries(pod, kind, reference.get("name", ""), reference, mode)

    def _entries(self, pod: Document, kind: str, name: str, source: Document, mode: int) -> Files:
        namespace = pod["metadata"]["namespace"]
        document = self._cluster.objects.get(kind, name, namespace)
        if document is None:
            if source.get("optional"):
                return {}
            raise MountFailed(f'{kind.lower()} "{name}" not found')
        contents = {key: value.encode() for key, value in (document.get("data") or {}).items()}
        if kind == "Secret":
            contents = {key: base64.b64decode(value) for key, value in contents.items()}
        contents |= {key: base64.b64decode(value) for key, value in (document.get("binaryData") or {}).items()}
        items = source.get("items")
        if not items:
            return {key: (content, mode) for key, content in contents.items()}
        missing = [item["key"] for item in items if item["key"] not in contents]
        if missing and not source.get("optional"):
            raise MountFailed(
                f"references non-existent {'config' if kind == 'ConfigMap' else 'secret'} key: {missing[0]}"
            )
        return {
            item["path"]: (contents[item["key"]], item.get("mode", mode)) for item in items if item["key"] in contents
        }

    def _fields(self, pod: Document, source: Document, mode: int) -> Files:
        allocatable = self._machine.allocatable
        return {
            item["path"]: (
                (
                    pod_field(pod, item["fieldRef"]["fieldPath"])
                    if "fieldRef" in item
                    else resource_field(pod, item["resourceFieldRef"], allocatable, None)
                ).encode(),
                item.get("mode", mode),
            )
            for item in source.get("items") or []
        }
