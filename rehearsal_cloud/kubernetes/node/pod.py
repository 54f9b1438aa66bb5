"""The life of a pod on the node, from its first volume to the end of its last container."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import Failure
from rehearsal_cloud.kubernetes.node.container import Container
from rehearsal_cloud.kubernetes.node.pod_status import conditions, is_sidecar, phase, qos_class
from rehearsal_cloud.kubernetes.node.sandbox import Sandbox
from rehearsal_cloud.kubernetes.node.volumes import MountFailed
from rehearsal_cloud.kubernetes.objects.lifecycle import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.machine import Machine

_FIRST_RETRY_SECONDS = 0.5
_LAST_RETRY_SECONDS = 122.0
_ENDED = ("Succeeded", "Failed")


class PodWorker:
    """Runs a pod by its spec, until it is deleted."""

    def __init__(self, machine: Machine, pod: Document) -> None:
        self._machine = machine
        self.sandbox = Sandbox(machine, pod)
        policy = pod["spec"].get("restartPolicy", "Always")
        init_policy = "Never" if policy == "Never" else "OnFailure"
        self.inits = [
            Container(self.sandbox, spec, "Always" if is_sidecar(spec) else init_policy, self._change)
            for spec in pod["spec"].get("initContainers") or []
        ]
        self.apps = [Container(self.sandbox, spec, policy, self._change) for spec in pod["spec"]["containers"]]
        self._sidecars = [init for init in self.inits if is_sidecar(init.spec)]
        self.ephemerals: list[Container] = []
        self._mounted = False
        self._keeping: list[asyncio.Task[object]] = []
        self._deleted = asyncio.Event()
        self._publishing: asyncio.Handle | None = None
        self._failed: tuple[str, str] | None = None
        self._living: asyncio.Task[None] | None = None

    @property
    def pod(self) -> Document:
        """Return the last seen version of the pod."""
        return self.sandbox.pod

    def container(self, name: str) -> Container | None:
        """Return a container by name, or None."""
        return next((container for container in self.containers if container.name == name), None)

    @property
    def containers(self) -> list[Container]:
        """Return all containers, those for debugging last."""
        return [*self.apps, *self.inits, *self.ephemerals]

    def update(self, pod: Document, *, deleted: bool = False) -> None:
        """Receive a changed or deleted pod."""
        self.sandbox.pod = pod
        if deleted or "deletionTimestamp" in pod["metadata"]:
            self._deleted.set()
        elif self._mounted:
            self._begin_ephemerals()
        self.sandbox.wake()

    def lose(self) -> None:
        """End at once, as the machine does, without a grace period."""
        self.sandbox.lost = True
        self._deleted.set()

    # Running

    async def go(self) -> None:
        """Run the pod, and end it when it is deleted."""
        if "deletionTimestamp" in self.pod["metadata"]:
            self._deleted.set()
        living = self._living = asyncio.create_task(self._live())
        deleted = asyncio.create_task(self._deleted.wait())
        try:
            await asyncio.wait([living, deleted], return_when=asyncio.FIRST_COMPLETED)
            await deleted
        finally:
            deleted.cancel()
            await _cancelled([living, *self._keeping])
        await self._end()

    async def _live(self) -> None:
        if self.pod.get("status", {}).get("phase") in _ENDED:
            return
        try:
            async with asyncio.timeout(self._deadline()):
                await self._run()
        except TimeoutError:
            self._failed = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            await _cancelled(self._keeping)
            await self._stop(self.containers, self.sandbox.grace)
        self.publish()

    def _deadline(self) -> float | None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        started = self.pod.get("status", {}).get("startTime")
        if seconds is None or not started:
            return float(seconds) if seconds is not None else None
        age = datetime.now(UTC) - datetime.fromisoformat(started)
        return max(0.0, float(seconds) - age.total_seconds())

    async def _run(self) -> None:
        self.publish()
        await self._mount()
        self._mounted = True
        self._begin_ephemerals()
        refreshing = asyncio.create_task(self._refresh())
        self._keeping.append(refreshing)
        for init in self.inits:
            if init in self._sidecars:
                self._keeping.append(asyncio.create_task(init.keep()))
                await init.started.wait()
            elif (await init.keep()).code:
                break
        else:
            kept = [asyncio.create_task(app.keep()) for app in self.apps]
            self._keeping.extend(kept)
            await asyncio.gather(*kept)
        await _cancelled(self._keeping)
        await self._stop([*self._sidecars, *self.ephemerals], self.sandbox.grace)

    def _begin_ephemerals(self) -> None:
        """Start the containers for debugging that the pod got since; they are never restarted."""
        begun = {container.name for container in self.ephemerals}
        for spec in self.pod["spec"].get("ephemeralContainers") or ():
            if spec["name"] not in begun:
                container = Container(self.sandbox, spec, "Never", self._change)
                self.ephemerals.append(container)
                self._keeping.append(asyncio.create_task(container.keep()))

    async def _mount(self) -> None:
        wait = _FIRST_RETRY_SECONDS
        while True:
            try:
                await self.sandbox.volumes.mount(self.pod)
            except (MountFailed, Failure) as fault:
                self.sandbox.events.warning("FailedMount", str(fault))
                await self.sandbox.changed_within(max(wait * self.sandbox.time_scale, _FIRST_RETRY_SECONDS))
                wait = min(wait * 2, _LAST_RETRY_SECONDS)
            else:
                return

    async def _refresh(self) -> None:
        while True:
            due = self.sandbox.tokens.renewal()
            await self.sandbox.changed_within(_LAST_RETRY_SECONDS if due is None else max(due - time.time(), 1.0))
            await self.sandbox.volumes.refresh(self.pod)

    # Ending

    async def _end(self) -> None:
        for container in self.containers:
            if container.run is not None and container.run.alive():
                self.sandbox.events.normal("Killing", f"Stopping container {container.name}", container.spec)
        grace = self.sandbox.grace
        await self._stop([container for container in self.containers if container not in self._sidecars], grace)
        await self._stop(self._sidecars, grace)
        self.publish()
        await self.sandbox.volumes.unmount(self.pod)
        self.sandbox.network.leave(self.pod)
        await asyncio.to_thread(shutil.rmtree, self.sandbox.folder, ignore_errors=True)
        metadata = self.pod["metadata"]
        self._machine.cluster.objects.remove("Pod", metadata["name"], metadata["namespace"], metadata["uid"])

    async def _stop(self, containers: Sequence[Container], grace: float) -> None:
        await asyncio.gather(*(container.stop(grace) for container in containers))
        for container in containers:
            container.settle()

    async def evict(self, message: str) -> None:
        """End the pod because of node pressure; its object stays, with the message."""
        if self._living is None or self.pod.get("status", {}).get("phase") in _ENDED:
            return
        self.sandbox.events.warning("Evicted", message)
        self._failed = ("Evicted", message)
        await _cancelled([self._living, *self._keeping])
        await self._stop(self.containers, 0)
        self.publish()

    # Status

    def _change(self) -> None:
        """Publish soon; changes close together are published once."""
        if self._publishing is None:
            self._publishing = asyncio.get_running_loop().call_soon(self.publish)

    def publish(self) -> None:
        """Write the pod's status, unless the node is silent."""
        if self._publishing is not None:
            self._publishing.cancel()
            self._publishing = None
        metadata, objects = self.pod["metadata"], self._machine.cluster.objects
        current = objects.get("Pod", metadata["name"], metadata["namespace"])
        if current is None or current["metadata"]["uid"] != self.sandbox.uid or self._machine.silent:
            return
        status = self._status(current)
        with contextlib.suppress(Failure):  # it went between the two
            objects.update_status({**current, "status": status}, manager="kubelet")

    def _status(self, pod: Document) -> Document:
        inits, apps = [init.status() for init in self.inits], [init.status() for init in self.apps]
        before: Document = pod.get("status") or {}
        current = before["phase"] if before.get("phase") in _ENDED else phase(pod, inits, apps)
        status = {**before, "phase": current}
        if self._failed is not None:
            status |= {"phase": "Failed", "reason": self._failed[0], "message": self._failed[1]}
        status["conditions"] = conditions(pod, status["phase"], inits, apps)
        status |= {"hostIP": self._machine.address, "hostIPs": [{"ip": self._machine.address}]}
        status |= {"podIP": self.sandbox.ip, "podIPs": [{"ip": self.sandbox.ip}]}
        status |= {"containerStatuses": apps, "qosClass": qos_class(pod)}
        status |= {"observedGeneration": pod["metadata"].get("generation", 1)}
        status.setdefault("startTime", now())
        debugging = [container.status() for container in self.ephemerals]
        status |= {"ephemeralContainerStatuses": debugging} if debugging else {}
        return status | ({"initContainerStatuses": inits} if inits else {})


async def _cancelled(tasks: Sequence[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
