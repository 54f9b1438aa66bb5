"""The images of containers: pulled by policy, with the kubelet's events and back-off."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.node.back_off import BackOff
from rehearsal_cloud.kubernetes.node.image_pulls import Images, PullFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.image_pulls import Image
    from rehearsal_cloud.kubernetes.node.pod_events import PodEvents
    from rehearsal_cloud.kubernetes.state import ClusterState

    Waiting = Callable[[str, str], None]


class NodeImages:
    """The images of the node; all pods share a pulled image."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self._images = Images(cluster)
        self._present: dict[str, Image] = {}

    async def get(self, container: Document, events: PodEvents, waiting: Waiting) -> Image:
        """Return the container's image, retrying without end; `waiting` receives the reason of each delay."""
        reference, policy = container["image"], container.get("imagePullPolicy") or "IfNotPresent"
        back_off = BackOff(self._cluster.cloud.settings.time_scale)
        while True:
            try:
                return await self._pulled(reference, policy, container, events)
            except PullFailed as fault:
                waiting(fault.reason, fault.message)
                if fault.reason == "ErrImagePull":
                    events.warning("Failed", f'Failed to pull image "{reference}": {fault.message}', container)
                elif fault.reason == "InvalidImageName":
                    events.warning("InspectFailed", fault.message, container)
                events.warning("Failed", f"Error: {fault.reason}", container)
                await asyncio.sleep(back_off.first_look)
                if fault.reason == "ErrImagePull":
                    text = f'Back-off pulling image "{reference}"'
                    events.normal("BackOff", text, container)
                    events.warning("Failed", "Error: ImagePullBackOff", container)
                    waiting("ImagePullBackOff", f"{text}: ErrImagePull: {fault.message}")
                await asyncio.sleep(back_off.next())

    async def _pulled(self, reference: str, policy: str, container: Document, events: PodEvents) -> Image:
        present = self._present.get(reference)
        if present is not None and policy != "Always":
            text = f'Container image "{reference}" already present on machine and can be accessed by the pod'
            events.normal("Pulled", text, container)
            return present
        if policy == "Never":
            raise PullFailed(
                "ErrImageNeverPull", f'Container image "{reference}" is not present with pull policy of Never'
            )
        events.normal("Pulling", f'Pulling image "{reference}"', container)
        started = time.monotonic()

        def progress(text: str) -> None:
            events.normal("Pulling", f'Pulling image "{reference}": {text}', container)

        image = await self._images.pull(reference, progress=progress)
        took = f"{time.monotonic() - started:.3f}s"
        text = f'Successfully pulled image "{reference}" in {took} ({took} including waiting).'
        events.normal("Pulled", text, container)
        self._present[reference] = image
        return image
