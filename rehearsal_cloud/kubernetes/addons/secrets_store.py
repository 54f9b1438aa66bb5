"""The Secrets Store CSI driver of AKS's add-on: volumes with files from Key Vault, and the Secrets synced from them.

After https://github.com/kubernetes-sigs/secrets-store-csi-driver: a pod's mount is recorded in a
SecretProviderClassPodStatus, and the owners of the pods that mount the volume own a synced Secret.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes import atomic_folder
from rehearsal_cloud.kubernetes.addons.secrets_provider import (
    AUDIENCE,
    Identity,
    ProviderFailed,
    SecretFile,
    SecretsProvider,
)
from rehearsal_cloud.kubernetes.durations import seconds
from rehearsal_cloud.kubernetes.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.auth.service_tokens import ServiceTokens
    from rehearsal_cloud.kubernetes.state import ClusterState

DRIVER = "secrets-store.csi.k8s.io"
API_VERSION = "secrets-store.csi.x-k8s.io/v1"
_MANAGER = "secrets-store-csi"
_ADDON = "azurekeyvaultsecretsprovider"
_NODE_LABEL = "internal.secrets-store.csi.k8s.io/node-name"
_MANAGED_LABEL = "secrets-store.csi.k8s.io/managed"
_STATUS = "SecretProviderClassPodStatus"
_POLL_INTERVAL = "2m"
_LEAST_POLL_SECONDS = 1.0
_FINISHED = ("Succeeded", "Failed")


class MountFailed(Exception):
    """A volume cannot be set up; the message follows the volume's name in the kubelet's FailedMount event."""


class SecretsStore:
    """The driver on a cluster's node."""

    def __init__(self, cluster: ClusterState, tokens: ServiceTokens) -> None:
        self._cluster = cluster
        self._tokens = tokens
        self._objects = cluster.objects
        self._provider = SecretsProvider(cluster)
        self._recorder = cluster.recorder.named("csi-secrets-store-controller")
        self._rotation: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start polling for rotated secrets."""
        self._rotation = asyncio.create_task(self._rotate(), name="secret rotation")

    async def stop(self) -> None:
        """Stop polling."""
        if self._rotation is not None:
            self._rotation.cancel()
            await asyncio.gather(self._rotation, return_exceptions=True)

    async def mount(self, pod: Document, volume: Document, folder: Path) -> None:
        """Write the files of a pod's inline volume, and sync its class's Secrets. Raises MountFailed."""
        if self._addon() is None:
            text = "kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name"
            raise MountFailed(f"{text} {DRIVER} not found in the list of registered CSI drivers")
        secrets = self._publish_secrets(pod, volume)
        try:
            await self._publish(pod, volume["csi"].get("volumeAttributes") or {}, secrets, folder)
        except _DriverFailed as fault:
            raise MountFailed(f"rpc error: code = Unknown desc = {fault}") from None

    async def unmount(self, pod: Document, volume: Document, folder: Path) -> None:
        """Empty the folder; the mount's record is deleted with the pod, and a synced Secret with its last owner."""
        del pod, volume
        await asyncio.to_thread(atomic_folder.write, folder, {})

    def _addon(self) -> Document | None:
        profiles = self._cluster.document["properties"].get("addonProfiles") or {}
        profile = next((profile for name, profile in profiles.items() if name.lower() == _ADDON), None)
        return profile if profile and profile.get("enabled") else None

    def _interval(self) -> float:
        """Return the add-on's rotation poll interval in seconds of Azure's time; infinity without rotation."""
        configuration = (self._addon() or {}).get("config") or {}
        if str(configuration.get("enableSecretRotation")).lower() != "true":
            return math.inf
        return seconds(configuration.get("rotationPollInterval") or _POLL_INTERVAL)

    def _publish_secrets(self, pod: Document, volume: Document) -> Mapping[str, str] | None:
        """Return the data of the volume's nodePublishSecretRef, or None without a reference."""
        reference = volume["csi"].get("nodePublishSecretRef")
        if not reference:
            return None
        namespace, name = pod["metadata"]["namespace"], reference.get("name", "")
        secret = self._objects.get("Secret", name, namespace)
        if secret is None:
            text = f"fetching NodePublishSecretRef {namespace}/{name} failed: kubernetes.io/csi: failed to find the"
            raise MountFailed(
                f'{text} secret {name} in the namespace {namespace} with error: secrets "{name}" not found'
            )
        return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}

    # Mounting

    async def _publish(
        self, pod: Document, attributes: Document, secrets: Mapping[str, str] | None, folder: Path
    ) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        chosen = attributes.get("secretProviderClass") or ""
        if not chosen:
            raise _DriverFailed("secretProviderClass is not set")
        provider_class = self._objects.get("SecretProviderClass", chosen, namespace)
        if provider_class is None:
            error = f'secretproviderclasses.secrets-store.csi.x-k8s.io "{chosen}" not found'
            raise _DriverFailed(f"failed to get secretproviderclass {namespace}/{chosen}, error: {error}")
        spec = provider_class.get("spec") or {}
        for field in ("provider", "parameters"):
            if not spec.get(field):
                raise _DriverFailed(f"{field} not set in {namespace}/{chosen}")
        failed = f"failed to mount secrets store objects for pod {namespace}/{name}, err:"
        if spec["provider"] != "azure":
            provider = f'provider "{spec["provider"]}"'
            raise _DriverFailed(f"{failed} error connecting to {provider}: provider not found: {provider}")
        try:
            files = await self._provider.files(spec["parameters"], self._identity(pod, secrets))
        except ProviderFailed as fault:
            text = f"{failed} rpc error: code = Unknown desc = failed to mount objects, error: {fault}"
            raise _DriverFailed(text) from None
        contents = {file.path: (file.content, file.mode) for file in files}
        await asyncio.to_thread(atomic_folder.write, folder, contents)
        self._record(pod, chosen, folder, files)
        self._sync(pod, provider_class, contents)

    def _identity(self, pod: Document, secrets: Mapping[str, str] | None) -> Identity:
        """Return the pod's identity: the kubelet passes the driver a token that is bound to the pod."""
        metadata = pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        account = pod["spec"].get("serviceAccountName") or "default"
        try:
            request = {"audiences": [AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": bound}
            answer = self._tokens.request(metadata["namespace"], account, request)
        except Failure as failure:
            raise MountFailed(
                "kubernetes.io/csi: mounter.SetUpAt failed to get service accoount token attributes: failed to fetch"
                f" token: {failure.message}"  # the kubelet spells it so
            ) from None
        return Identity(answer["status"]["token"], secrets)

    def _record(self, pod: Document, chosen: str, folder: Path, files: list[SecretFile]) -> None:
        metadata = pod["metadata"]
        status = {
            "apiVersion": API_VERSION,
            "kind": _STATUS,
            "metadata": {
                "name": f"{metadata['name']}-{metadata['namespace']}-{chosen}",
                "namespace": metadata["namespace"],
                "labels": {_NODE_LABEL: pod["spec"].get("nodeName", "")},
                "ownerReferences": [_owner("v1", "Pod", metadata)],
            },
            "status": {
                "mounted": True,
                "objects": sorted(
                    ({"id": item.uid, "version": item.version} for item in files), key=lambda item: item["id"]
                ),
                "podName": metadata["name"],
                "secretProviderClassName": chosen,
                "targetPath": str(folder),
            },
        }
        self._write(status)

    # Secrets

    def _sync(self, pod: Document, provider_class: Document, files: Mapping[str, tuple[bytes, int]]) -> None:
        """Create or update the Secrets that the class syncs from the files."""
        if "deletionTimestamp" in pod["metadata"] or (pod.get("status") or {}).get("phase") in _FINISHED:
            return
        namespace, name = provider_class["metadata"]["namespace"], provider_class["metadata"]["name"]
        for secret_object in provider_class["spec"].get("secretObjects") or []:
            secret = str(secret_object.get("secretName") or "").strip()
            try:
                data = _data(secret_object, files)
                self._sync_secret(pod, name, secret_object, data)
            except _DriverFailed as fault:
                text = f"failed to get data in spc {namespace}/{name} for secret {secret}, err: {fault}"
                self._recorder.warning(pod, "FailedToCreateSecret", text)
            except Failure as failure:
                self._recorder.warning(pod, "FailedToCreateSecret", failure.message)

    def _sync_secret(self, pod: Document, chosen: str, secret_object: Document, data: dict[str, str]) -> None:
        namespace, name = pod["metadata"]["namespace"], secret_object["secretName"].strip()
        existing = self._objects.get("Secret", name, namespace)
        owners = list((existing or {"metadata": {}})["metadata"].get("ownerReferences") or [])
        owners += [
            owner for owner in self._owners(pod, chosen) if owner["uid"] not in {present["uid"] for present in owners}
        ]
        metadata = {"name": name, "namespace": namespace, "ownerReferences": owners}
        metadata["labels"] = {**(secret_object.get("labels") or {}), _MANAGED_LABEL: "true"}
        if secret_object.get("annotations"):
            metadata["annotations"] = secret_object["annotations"]
        kind = secret_object["type"].strip()
        self._write({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": data})

    def _owners(self, pod: Document, chosen: str) -> list[Document]:
        """Return the owners of a synced Secret: the pod's owners or, without any, the record of its mount."""
        owners = [
            {key: reference[key] for key in ("apiVersion", "kind", "name", "uid")}
            for reference in pod["metadata"].get("ownerReferences") or []
        ]
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        record = self._objects.get(_STATUS, f"{name}-{namespace}-{chosen}", namespace)
        return owners or ([_owner(API_VERSION, _STATUS, record["metadata"])] if record else [])

    def _write(self, document: Document) -> None:
        metadata = document["metadata"]
        existing = self._objects.get(document["kind"], metadata["name"], metadata["namespace"])
        if existing is None:
            self._objects.create(document, manager=_MANAGER)
        else:
            self._objects.update(
                {**existing, **document, "metadata": {**existing["metadata"], **metadata}}, manager=_MANAGER
            )

    # Rotation

    async def _rotate(self) -> None:
        """Mount changed secrets again at the add-on's poll interval, at most once a second."""
        looked = time.monotonic()
        while True:
            await asyncio.sleep(_LEAST_POLL_SECONDS)
            interval = self._interval()
            if math.isinf(interval) or time.monotonic() - looked < self._cluster.cloud.settings.scaled(interval):
                continue
            looked = time.monotonic()
            for record in self._objects.list(_STATUS):
                # A failed rotation keeps the files, and is retried.
                with contextlib.suppress(MountFailed, _DriverFailed, Failure):
                    await self._renew(record)

    async def _renew(self, record: Document) -> None:
        namespace, status = record["metadata"]["namespace"], record["status"]
        pod = self._objects.get("Pod", status["podName"], namespace)
        chosen = self._objects.get("SecretProviderClass", status["secretProviderClassName"], namespace)
        if pod is None or chosen is None or "deletionTimestamp" in pod["metadata"] or not self._stale(chosen, status):
            return
        for volume in pod["spec"].get("volumes") or []:
            attributes = (volume.get("csi") or {}).get("volumeAttributes") or {}
            if attributes.get("secretProviderClass") == chosen["metadata"]["name"]:
                await self._publish(pod, attributes, self._publish_secrets(pod, volume), Path(status["targetPath"]))

    def _stale(self, chosen: Document, status: Document) -> bool:
        """Tell whether a mounted object has another version now.

        The real driver requests every object each time. The rehearsal polls a hundred times as often, so it skips
        the rounds without a new version.
        """
        vault = str(chosen["spec"]["parameters"].get("keyvaultName", "")).strip()
        newest = self._cluster.cloud.secret_versions(vault)
        mounted = [(item["id"].partition("/")[2], item["version"]) for item in status.get("objects") or []]
        return any(newest.get(name, version) != version for name, version in mounted)


class _DriverFailed(Exception):
    """The driver cannot mount a volume; the message is the driver's."""


def _owner(api_version: str, kind: str, metadata: Document) -> Document:
    return {"apiVersion": api_version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}


def _data(secret_object: Document, files: Mapping[str, tuple[bytes, int]]) -> dict[str, str]:
    """Return the data of the Secret of an entry of `secretObjects`."""
    for field, label in (("secretName", "secret name"), ("type", "secret type"), ("data", "data")):
        if not secret_object.get(field):
            raise _DriverFailed(f"{label} is empty")
    data = {}
    for entry in secret_object["data"]:
        name, key = str(entry.get("objectName") or "").strip(), str(entry.get("key") or "").strip()
        if not name:
            raise _DriverFailed("object name in secretObjects.data")
        if not key:
            raise _DriverFailed("key in secretObjects.data is empty")
        if name not in files:
            raise _DriverFailed(f"file matching objectName {name} not found in the pod")
        data[key] = base64.b64encode(files[name][0]).decode()
    return data
