"""The probes of a running container: startup, then readiness and liveness in parallel.

https://github.com/kubernetes/kubernetes/tree/master/pkg/kubelet/prober; their seconds are not
scaled, because they wait for a real program.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.node.handlers import Errored, handle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.runtime import Run
    from rehearsal_cloud.kubernetes.node.sandbox import Sandbox


class Probes:
    """Probes a run from its start to its end; calls `unhealthy` with the probe that demands a restart."""

    def __init__(
        self,
        sandbox: Sandbox,
        container: Document,
        run: Run,
        changed: Callable[[], None],
        started: asyncio.Event,
        unhealthy: Callable[[str], Awaitable[None]],
    ) -> None:
        self._sandbox = sandbox
        self._container = container
        self._run = run
        self._changed = changed
        self._started = started
        self._unhealthy = unhealthy
        self._passes = "readinessProbe" not in container

    @property
    def ready(self) -> bool:
        """Tell whether its startup and readiness probes succeeded."""
        return self._started.is_set() and self._passes

    async def go(self) -> None:
        """Probe until cancelled."""
        startup = self._container.get("startupProbe")
        if startup and not await self._until_started(startup):
            return
        self._started.set()
        self._changed()
        async with asyncio.TaskGroup() as tasks:
            if probe := self._container.get("readinessProbe"):
                tasks.create_task(self._readiness(probe))
            if probe := self._container.get("livenessProbe"):
                tasks.create_task(self._liveness(probe))

    async def _until_started(self, probe: Document) -> bool:
        failures = 0
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while not await self._once("Startup", probe):
            failures += 1
            if failures >= probe.get("failureThreshold", 3):
                await self._unhealthy("startup")
                return False
            await asyncio.sleep(probe.get("periodSeconds", 10))
        return True

    async def _readiness(self, probe: Document) -> None:
        successes = failures = 0
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while True:
            if await self._once("Readiness", probe):
                successes, failures = successes + 1, 0
            else:
                successes, failures = 0, failures + 1
            passes = self._passes
            if successes >= probe.get("successThreshold", 1):
                passes = True
            elif failures >= probe.get("failureThreshold", 3):
                passes = False
            if passes != self._passes:
                self._passes = passes
                self._changed()
            await asyncio.sleep(probe.get("periodSeconds", 10))

    async def _liveness(self, probe: Document) -> None:
        failures = 0
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while failures < probe.get("failureThreshold", 3):
            failures = 0 if await self._once("Liveness", probe) else failures + 1
            if failures < probe.get("failureThreshold", 3):
                await asyncio.sleep(probe.get("periodSeconds", 10))
        await self._unhealthy("liveness")

    async def _once(self, name: str, probe: Document) -> bool:
        seconds = float(probe.get("timeoutSeconds", 1))
        events = self._sandbox.events
        try:
            outcome = await handle(probe, self._sandbox, self._container, self._run, seconds)
        except Errored as fault:
            events.warning("Unhealthy", f"{name} probe errored and resulted in unknown state: {fault}", self._container)
            return False
        if not outcome.well:
            events.warning("Unhealthy", f"{name} probe failed: {outcome.output}", self._container)
        return outcome.well
