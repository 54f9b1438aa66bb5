"""The sandbox of a pod: the resources that its containers share."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.node.environment import ConfigFailed
from rehearsal_cloud.kubernetes.node.pod_events import PodEvents
from rehearsal_cloud.kubernetes.node.projected_tokens import ProjectedTokens
from rehearsal_cloud.kubernetes.node.volumes import Volumes
from rehearsal_cloud.kubernetes.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.image_pulls import Image
    from rehearsal_cloud.kubernetes.node.machine import Machine


class Sandbox:
    """A pod's folder, address, volumes, images and events."""

    def __init__(self, machine: Machine, pod: Document) -> None:
        cluster = machine.cluster
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self.folder: Path = machine.pods_folder / self.uid
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.objects = cluster.objects
        self.images = machine.images
        self.network = machine.network
        self.allocatable = machine.allocatable
        self.time_scale = cluster.cloud.settings.time_scale
        self.tokens = ProjectedTokens(machine.tokens)
        self.volumes = Volumes(machine, self.folder, self.tokens)
        self.events = PodEvents(Recorder(cluster.objects, "kubelet", pod["spec"]["nodeName"]), pod)
        self.lost = False
        self._changed = asyncio.Event()
        self.ip = machine.address if pod["spec"].get("hostNetwork") else machine.network.join(pod)

    @property
    def network_folder(self) -> Path | None:
        """Return the pod's folder in the pod network, or None in the host's network."""
        return None if self.pod["spec"].get("hostNetwork") else self.network.place(self.ip)

    @property
    def pod_name(self) -> str:
        """Return the pod's full name in the kubelet's format."""
        return f"{self.pod['metadata']['name']}_{self.pod['metadata']['namespace']}"

    @property
    def grace(self) -> float:
        """Return the containers' grace period (seconds); there is none on a machine that is gone."""
        if self.lost:
            return 0.0
        metadata = self.pod["metadata"]
        seconds = metadata.get("deletionGracePeriodSeconds", self.pod["spec"].get("terminationGracePeriodSeconds", 30))
        return float(seconds)

    def wake(self) -> None:
        """Wake the waiters after a change."""
        self._changed.set()

    async def changed_within(self, seconds: float) -> None:
        """Wait for a change, at most for `seconds`."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def check_user(self, container: Document, image: Image) -> None:
        """Raise ConfigFailed where a runAsNonRoot container would run as root."""
        context = {**(self.pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
        if not context.get("runAsNonRoot"):
            return
        about = f'(pod: "{self.pod_name}({self.uid})", container: {container["name"]})'
        user = context.get("runAsUser")
        if user == 0:
            raise ConfigFailed(f"container's runAsUser breaks non-root policy {about}")
        if user is not None:
            return
        named = image.user.partition(":")[0]
        if named in ("", "0"):
            raise ConfigFailed(f"container has runAsNonRoot and image will run as root {about}")
        if not named.isdigit():
            text = (
                f"container has runAsNonRoot and image has non-numeric user ({named}), cannot verify user is non-root"
            )
            raise ConfigFailed(f"{text} {about}")
