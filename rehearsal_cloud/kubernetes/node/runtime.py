"""The container runtime: runs containers as processes, each with its own folder and under a shim.

A run outlives this program. It is identified by its folder; whether it still runs is decided by the lock that its shim
holds, never by a process ID alone, which another program may have by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.container_processes import MARK
from rehearsal_cloud.kubernetes.node.command import Command
from rehearsal_cloud.kubernetes.node.paths import Paths
from rehearsal_cloud.kubernetes.node.process_exit import ProcessExit

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHIM = Path(__file__).with_name("shim.py")
_FORCE_SECONDS = 5.0
_LOST = 255


class StartFailed(Exception):
    """A container's program cannot be run; the message is the runtime's."""


@dataclass(frozen=True)
class Exit:
    """The end of a run: the exit code, the time (RFC 3339, nanoseconds), and the kubelet's reason."""

    code: int
    finished: str
    reason: str


@dataclass(frozen=True, repr=False)
class Process:
    """A process to run: the program's absolute path, its arguments, its environment (with secrets) and its folder."""

    program: str
    args: Sequence[str]
    env: dict[str, str]
    cwd: str
    tty: bool = False
    stdin: bool = False

    def document(self) -> dict[str, Any]:
        """Return the shim's configuration."""
        return {
            "program": self.program,
            "args": list(self.args),
            "env": self.env,
            "cwd": self.cwd,
            "tty": self.tty,
            "stdin": self.stdin,
        }


def program(name: str, env: dict[str, str], cwd: str) -> str:
    """Return the absolute path of a program. Raises StartFailed with runc's message."""
    if "/" in name:
        file = Path(cwd, name)
        if not file.exists():
            raise StartFailed(f'exec: "{name}": stat {name}: no such file or directory')
        if not file.is_file() or not os.access(file, os.X_OK):
            raise StartFailed(f'exec: "{name}": permission denied')
        return str(file)
    path = shutil.which(name, path=env.get("PATH", os.defpath))
    if path is None:
        raise StartFailed(f'exec: "{name}": executable file not found in $PATH')
    return path


class Run:
    """One run of a container, from its start to its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def number(self) -> int:
        """Return the number of the run; the first is 0."""
        return int(self.folder.name)

    @property
    def root(self) -> Path:
        """Return the container's root folder."""
        return self.folder / "root"

    @property
    def log(self) -> Path:
        """Return the log, in the format of the container runtime interface."""
        return self.folder / "log"

    @property
    def stdin(self) -> Path:
        """Return the FIFO of the container's stdin."""
        return self.folder / "stdin"

    @cached_property
    def about(self) -> dict[str, Any]:
        """Return its ID, its image's reference and ID, and its own paths."""
        about: dict[str, Any] = json.loads((self.folder / "about.json").read_text())
        return about

    @property
    def paths(self) -> Paths:
        """Return the mapping of the container's paths."""
        return Paths(self.root, self.about["paths"])

    @property
    def failed_start(self) -> str:
        """Return the error of a failed start, or ""."""
        message = self.folder / "message"
        return message.read_text() if message.exists() else ""

    @cached_property
    def process(self) -> Process:
        """Return the process that the run was started with."""
        return Process(**json.loads((self.folder / "config.json").read_text()))

    @cached_property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        return state

    @property
    def was_started(self) -> bool:
        """Tell whether the run's process was started."""
        return (self.folder / "state.json").exists() or (self.folder / "exit.json").exists()

    @property
    def started(self) -> str:
        """Return the start time (RFC 3339, nanoseconds)."""
        return str(self._state["started"])

    @property
    def pid(self) -> int:
        """Return the process ID of its first process."""
        return int(self._state["pid"])

    async def start(self, process: Process) -> None:
        """Start the process under a shim that outlives this program. Raises StartFailed."""
        config = self.folder / "config.json"
        env = {**process.env, MARK: str(self.folder)}
        with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({**process.document(), "env": env}, file)
        shim = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", _SHIM, "run", self.folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={MARK: str(self.folder)},
            cwd="/",
            start_new_session=True,
        )
        _, stderr = await shim.communicate()
        if shim.returncode or not self.was_started:
            raise StartFailed(f"shim exited with {shim.returncode}: {stderr.decode(errors='replace').strip()[-200:]}")

    def alive(self) -> bool:
        """Tell whether it runs."""
        try:
            with (self.folder / "alive").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def exit(self) -> Exit | None:
        """Return its exit, or None while it runs. A run whose shim is lost ended with the machine."""
        if not self.was_started or self.alive():
            return None
        try:
            ended = json.loads((self.folder / "exit.json").read_text())
        except FileNotFoundError:
            return Exit(_LOST, self.started, "Unknown")
        code = int(ended["code"])
        reason = "OOMKilled" if (self.folder / "oom").exists() else "Error" if code else "Completed"
        return Exit(code, ended["finished"], ended.get("reason", reason))

    async def ended(self) -> Exit:
        """Wait for the end of the run."""
        while self.alive():
            watch = ProcessExit(int(self._state["shim"]))
            try:
                if self.alive():  # or the ID that we watch may be another's
                    await watch.wait()
            finally:
                watch.close()
        ended = self.exit()
        assert ended is not None  # noqa: S101 - a started process that is not alive has ended
        return ended

    def signal(self, number: int) -> None:
        """Send its first process a signal."""
        if self.alive() and self.was_started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def close_stdin(self) -> None:
        """Let its first process read the end of its stdin."""
        if self.alive():
            os.kill(int(self._state["shim"]), signal.SIGUSR1)

    def kill_for_memory(self) -> None:
        """Kill it like the kernel's OOM killer."""
        (self.folder / "oom").touch()
        self.signal(signal.SIGKILL)

    async def stop(self, grace: float) -> None:
        """Ask its first process to end, and kill it after `grace` seconds."""
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, _FORCE_SECONDS)):
            self.signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.ended()
                    return
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self._state["shim"]), signal.SIGKILL)

    def record_failed_start(self, message: str, when: str) -> None:
        """Record that the runtime could not start it."""
        ended = {"code": 128, "finished": when, "reason": "StartError"}
        (self.folder / "message").write_text(message)
        (self.folder / "state.json").write_text(json.dumps({"shim": 0, "pid": 0, "started": "1970-01-01T00:00:00Z"}))
        (self.folder / "exit.json").write_text(json.dumps(ended))

    async def exec(self, words: Sequence[str], stdio: tuple[int, int, int], *, tty: bool = False) -> Command:
        """Run a command beside the first process, in its environment. Raises StartFailed.

        `stdio` holds descriptors, or asyncio.subprocess.PIPE or DEVNULL.
        """
        first = self.process
        real = [self.paths.translate(word) for word in words]
        env = {**first.env, "TERM": "xterm"} if tty else first.env
        process = Process(program(real[0], env, first.cwd), real, env, first.cwd, tty)
        read, write = os.pipe()
        try:
            shim = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", _SHIM, "exec", self.folder, str(read)),
                stdin=stdio[0],
                stdout=stdio[1],
                stderr=stdio[2],
                env={MARK: str(self.folder)},
                cwd="/",
                pass_fds=(read,),
                start_new_session=True,
            )
        except BaseException:
            os.close(write)
            raise
        finally:
            os.close(read)
        body = json.dumps(process.document()).encode()
        command = Command(shim, write)
        await command.send(len(body).to_bytes(8, "big") + body)
        return command


def runs(folder: Path) -> list[Run]:
    """Return the kept runs of a container, in order."""
    numbers = sorted(int(entry.name) for entry in folder.glob("*") if entry.name.isdigit())
    return [Run(folder / str(number)) for number in numbers]
