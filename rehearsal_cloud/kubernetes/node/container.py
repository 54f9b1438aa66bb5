"""A container of a pod: started, watched, probed, and restarted by the pod's policy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.node import hooks, logs
from rehearsal_cloud.kubernetes.node.back_off import BackOff
from rehearsal_cloud.kubernetes.node.environment import ConfigFailed, container_environment, expand
from rehearsal_cloud.kubernetes.node.mounts import TERMINATION_LOG, container_paths, furnish, lay_out
from rehearsal_cloud.kubernetes.node.probes import Probes
from rehearsal_cloud.kubernetes.node.runtime import Process, Run, StartFailed, program, runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.image_pulls import Image
    from rehearsal_cloud.kubernetes.node.runtime import Exit
    from rehearsal_cloud.kubernetes.node.sandbox import Sandbox

_KEPT_RUNS = 2
_RESET_SECONDS = 600.0
_RETRY_SECONDS = 10.0
_MESSAGE_BYTES = 4096
_MESSAGE_LINES = 80
_GUEST = Path(__file__).with_name("pod_site")
_NOT_CREATED = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed:"
    " unable to start container process: error during container init: {}: unknown"
)


def timestamp(nanoseconds: str = "") -> str:
    """Return a time in the format of objects, in whole seconds; by default now."""
    return f"{nanoseconds[:19]}Z" if nanoseconds else datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Container:
    """Runs a container as its spec requires; its state is its entry in the pod's status."""

    def __init__(self, sandbox: Sandbox, spec: Document, policy: str, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self._sandbox = sandbox
        self._policy = policy
        self._changed = changed
        self._folder = sandbox.folder / "containers" / self.name
        self._back_off = BackOff(sandbox.time_scale)
        waits = "PodInitializing" if sandbox.pod["spec"].get("initContainers") else "ContainerCreating"
        self._state: Document = {"waiting": {"reason": waits}}
        self._last: Document = {}
        self._probes: Probes | None = None
        self.started = asyncio.Event()
        self.run: Run | None = next(iter(reversed(runs(self._folder))), None)
        if self.run is not None and not self.run.was_started:  # the daemon was killed while it made it
            shutil.rmtree(self.run.folder)
            self.run = next(iter(reversed(runs(self._folder))), None)
        if self.run is not None and (ended := self.run.exit()):
            self._state = self._terminated(self.run, ended)

    # Status

    @property
    def ready(self) -> bool:
        """Tell whether it runs and its probes succeed."""
        return "running" in self._state and self._probes is not None and self._probes.ready

    @property
    def exit(self) -> Exit | None:
        """Return how its last run ended, while none runs."""
        return self.run.exit() if self.run is not None and "terminated" in self._state else None

    @property
    def pod_name(self) -> str:
        """Return the name of its pod."""
        return str(self._sandbox.pod["metadata"]["name"])

    @property
    def waiting_reason(self) -> str:
        """Return the reason for which it waits, or ""."""
        return str(self._state.get("waiting", {}).get("reason", ""))

    @property
    def last_started(self) -> Run | None:
        """Return the last run that was started."""
        return next((run for run in reversed(runs(self._folder)) if run.was_started), None)

    @property
    def previous(self) -> Run | None:
        """Return the run before the last one that was started."""
        kept = [run for run in runs(self._folder) if run.was_started]
        return kept[-2] if len(kept) > 1 else None

    def status(self) -> Document:
        """Return its entry in the pod's status."""
        about = self.run.about if self.run is not None else {}
        running = "running" in self._state
        return {
            "name": self.name,
            "state": self._state,
            "lastState": self._last,
            "ready": self.ready,
            "restartCount": self.run.number if self.run is not None else 0,
            "image": about.get("image", self.spec["image"]),
            "imageID": about.get("imageID", ""),
            "started": running and self.started.is_set(),
            "resources": self.spec.get("resources") or {},
        } | ({"containerID": f"containerd://{about['id']}"} if about else {})

    def _show(self, state: Document) -> None:
        if "terminated" in self._state and "terminated" not in state:
            self._last = self._state
        self._state = state
        self._changed()

    def _wait_for(self, reason: str, message: str = "") -> None:
        self._show({"waiting": {"reason": reason} | ({"message": message} if message else {})})

    def _terminated(self, run: Run, ended: Exit) -> Document:
        details = {
            "exitCode": ended.code,
            "reason": ended.reason,
            "startedAt": timestamp(run.started),
            "finishedAt": timestamp(ended.finished),
            "containerID": f"containerd://{run.about['id']}",
        }
        message = self._message(run, ended)
        return {"terminated": details | ({"message": message} if message else {})}

    def _message(self, run: Run, ended: Exit) -> str:
        if run.failed_start:
            return run.failed_start
        path = self.spec.get("terminationMessagePath") or TERMINATION_LOG
        with contextlib.suppress(OSError):
            written = (run.root / path.lstrip("/")).read_bytes()[-_MESSAGE_BYTES:]
            if written:
                return written.decode(errors="replace")
        if ended.code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            return logs.tail(run.log, _MESSAGE_LINES)[-_MESSAGE_BYTES:].decode(errors="replace")
        return ""

    # Running

    async def keep(self) -> Exit:
        """Keep it running by its policy; return its final exit."""
        while True:
            if self.run is None:
                self.run = await self._start(0)
            ended = await self._watch(self.run)
            self._show(self._terminated(self.run, ended))
            if not self._restarts(ended):
                return ended
            await self._wait_to_restart(self.run, ended)
            self.run = await self._start(self.run.number + 1)

    def _restarts(self, ended: Exit) -> bool:
        return self._policy == "Always" or (self._policy == "OnFailure" and ended.code != 0)

    async def _wait_to_restart(self, run: Run, ended: Exit) -> None:
        if _seconds(ended.finished) - _seconds(run.started) > _RESET_SECONDS and not run.failed_start:
            self._back_off.reset()
        first = self._back_off.nominal == 0
        seconds = self._back_off.next()
        if first:  # the first restart comes at once; the second waits
            return
        name = f"{self._sandbox.pod_name}({self._sandbox.uid})"
        text = f"Back-off restarting failed container {self.name} in pod {name}"
        self._sandbox.events.warning("BackOff", text, self.spec)
        text = f"back-off {self._back_off} restarting failed container={self.name} pod={name}"
        self._wait_for("CrashLoopBackOff", text)
        await asyncio.sleep(seconds)

    async def _watch(self, run: Run) -> Exit:
        if (ended := run.exit()) is not None:
            return ended
        self.started.clear()
        self._probes = Probes(self._sandbox, self.spec, run, self._changed, self.started, self._unhealthy)
        self._show({"running": {"startedAt": timestamp(run.started)}})
        probing = asyncio.create_task(self._probes.go())
        try:
            return await run.ended()
        finally:
            self._probes = None
            self.started.clear()
            probing.cancel()
            # Not `await probing`: its CancelledError would look like the cancellation of a deleted pod.
            await asyncio.gather(probing, return_exceptions=True)

    async def _unhealthy(self, probe: str) -> None:
        text = f"Container {self.name} failed {probe} probe, will be restarted"
        self._sandbox.events.normal("Killing", text, self.spec)
        await self.stop(self._sandbox.grace)

    async def stop(self, grace: float) -> None:
        """Run its preStop hook and end it, by force after `grace` seconds."""
        run = self.run
        if run is None or not run.alive():
            return
        deadline = time.monotonic() + grace
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook:
            await hooks.run(hook, self._sandbox, self.spec, run, "PreStop", grace)
        await run.stop(max(deadline - time.monotonic(), min(grace, hooks.LEAST_SECONDS)))

    def settle(self) -> None:
        """Report the end of its last run, when the container is no longer kept."""
        if self.run is not None and "terminated" not in self._state and (ended := self.run.exit()):
            self._show(self._terminated(self.run, ended))

    # Starting

    async def _start(self, number: int) -> Run:
        image = await self._sandbox.images.get(self.spec, self._sandbox.events, self._wait_for)
        while True:
            run = Run(self._folder / str(number))
            try:
                process = await asyncio.to_thread(self._create, run, image)
            except ConfigFailed as fault:
                shutil.rmtree(run.folder, ignore_errors=True)
                self._sandbox.events.warning("Failed", f"Error: {fault}", self.spec)
                self._wait_for("CreateContainerConfigError", str(fault))
                await self._sandbox.changed_within(_RETRY_SECONDS)
            else:
                break
        self._sandbox.events.normal("Created", "Container created", self.spec)
        await self._launch(run, process)
        self._forget_old()
        return run

    async def _launch(self, run: Run, process: Process) -> None:
        try:
            path = program(process.program, process.env, process.cwd)
            await run.start(Process(path, process.args, process.env, process.cwd, process.tty, process.stdin))
        except StartFailed as fault:
            text = _NOT_CREATED.format(fault)
            run.record_failed_start(text, timestamp())
            self._sandbox.events.warning("Failed", f"Error: {text}", self.spec)
            return
        self._sandbox.events.normal("Started", "Container started", self.spec)
        hook = (self.spec.get("lifecycle") or {}).get("postStart")
        if hook and not await hooks.run(hook, self._sandbox, self.spec, run, "PostStart", None):
            await run.stop(self._sandbox.grace)

    def _create(self, run: Run, image: Image) -> Process:
        """Create the run's folder, and return its process. Raises ConfigFailed."""
        sandbox, spec = self._sandbox, self.spec
        sandbox.check_user(spec, image)
        shutil.rmtree(run.folder, ignore_errors=True)
        run.root.mkdir(parents=True)
        variables = container_environment(sandbox.objects, sandbox.pod, spec, image.environment, sandbox.allocatable)
        folders = (*image.folders, image.workdir) if image.workdir not in ("", "/") else image.folders
        paths = container_paths(run.root, spec, folders)
        furnish(paths, spec, sandbox.volumes, folders, variables)
        lay_out(image.files, paths, spec)
        env = {key: value if key == "PATH" else paths.translate(value) for key, value in variables.items()}
        env = {"HOME": str(run.root), **env}
        if sandbox.network_folder is not None:
            env |= {"AIRFLOWAKS_GUEST": str(_GUEST), "AIRFLOWAKS_POD": str(sandbox.network_folder)}
        command = [expand(word, variables) for word in spec.get("command") or []] or list(image.entrypoint)
        args = [expand(word, variables) for word in spec.get("args") or []]
        if not args and not spec.get("command"):
            args = list(image.command)
        words = [paths.translate(word) for word in (*command, *args)]
        if not words:
            raise ConfigFailed("no command specified")
        workdir = spec.get("workingDir") or image.workdir or "/"
        real = paths.real(workdir)
        real.mkdir(parents=True, exist_ok=True)
        about = {"id": secrets.token_hex(32), "image": image.reference, "imageID": image.digest}
        (run.folder / "about.json").write_text(json.dumps({**about, "paths": paths.owned}))
        return Process(words[0], words, env, str(real), spec.get("tty", False), spec.get("stdin", False))

    def _forget_old(self) -> None:
        for old in runs(self._folder)[:-_KEPT_RUNS]:
            shutil.rmtree(old.folder, ignore_errors=True)


def _seconds(nanoseconds: str) -> float:
    return datetime.strptime(timestamp(nanoseconds), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
