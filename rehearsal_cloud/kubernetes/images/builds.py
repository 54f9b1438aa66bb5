"""Image builds: virtual environments in the user's cache folder, each built once and kept across resets.

A hash of all its inputs identifies an environment. A complete one has a `complete` file; a killed build leaves none,
and is built again. Each environment has at most one running build on a machine: the installer holds the lock file
too, so that after a daemon's death the next one does not write to a folder that is still in use.

An environment on a base has only its own packages, and imports the base's after them: Airflow is not copied.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.images.package_indexes import package_indexes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from rehearsal_cloud.kubernetes.images.recipes import Recipe
    from rehearsal_cloud.store import Store

    Progress = Callable[[str], None]

_LOG = logging.getLogger(__name__)
_LOG.setLevel(logging.INFO)  # builds are few and take long: the log should have them
_POLL_SECONDS = 0.2
# Imports `guest` from the folder that the node names into a container's interpreter. Rehearsals of different versions
# share an environment, so it does not contain the module.
_GUEST_PTH = """\
import os, sys; _guest = os.environ.get("AIRFLOWAKS_GUEST"); \
_guest and exec("sys.path.insert(0, _guest)\\ntry:\\n import guest\\nfinally:\\n sys.path.remove(_guest)")
"""
_COMPLETE = "complete"
FILES = "rootfs"
"""The folder of an environment in which the image's own files are."""


class BuildFailed(Exception):
    """An environment could not be built; the message is the end of the installer's output, `lines` has all of them."""

    def __init__(self, *lines: str) -> None:
        super().__init__(" ".join(lines[-12:]))
        self.lines = lines


def cache_folder() -> Path:
    """Return the folder of the environments: `AIRFLOWAKS_CACHE`, or `airflowaks` in the platform's cache folder."""
    if chosen := os.environ.get("AIRFLOWAKS_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "airflowaks"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airflowaks"


class ImageBuilds:
    """The builds of a rehearsal cloud; they record their progress in its `store` for `status`."""

    def __init__(self, store: Store, proxy_port: int) -> None:
        self._store = store
        self._own_proxy = f"http://127.0.0.1:{proxy_port}"
        self._running: dict[str, asyncio.Task[Path]] = {}
        self._listeners: dict[str, list[Progress]] = {}

    def begin(self, recipe: Recipe) -> asyncio.Task[Path]:
        """Start to build the environment, or return the running or successful build."""
        running = self._running.get(recipe.name)
        if running is None or (running.done() and (running.cancelled() or running.exception())):
            running = asyncio.create_task(self._recorded(recipe), name=f"build {recipe.name}")
            self._running[recipe.name] = running
        return running

    async def built(self, recipe: Recipe, progress: Progress) -> Path:
        """Return the complete environment's folder; `progress` receives messages. Raises BuildFailed."""
        listeners = self._listeners.setdefault(recipe.name, [])
        listeners.append(progress)
        try:
            folder = await asyncio.shield(self.begin(recipe))
            if not _is_complete(folder):  # somebody has removed it since
                del self._running[recipe.name]
                folder = await asyncio.shield(self.begin(recipe))
            return folder
        finally:
            listeners.remove(progress)

    async def resolved(self, base: Recipe, arguments: Sequence[str], folder: Path, progress: Progress) -> list[str]:
        """Return the packages, as `name==version`, that pip install with these arguments would add to `base`.

        Raises BuildFailed where they conflict with each other or with `base`.
        """
        from uv import find_uv_bin

        environment = await self.built(base, progress)
        indexes = await asyncio.to_thread(package_indexes, self._own_proxy)
        with environment.with_name(f"{environment.name}.lock").open("r") as lock:
            installer = _Installer(folder, indexes.environment, lock.fileno(), progress)
            python = str(environment / "bin" / "python")
            command = (find_uv_bin(), "pip", "install", "--dry-run", "--python", python, *indexes.options, *arguments)
            lines = await installer.run(*command)
        return [line[2:].split(" ")[0] for line in lines if line.startswith("+ ")]

    async def stop(self) -> None:
        """Stop the running builds."""
        for build in self._running.values():
            build.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _recorded(self, recipe: Recipe) -> Path:
        started = time.monotonic()

        def report(state: str, message: str) -> None:
            seconds = round(time.monotonic() - started, 1)
            record = {"name": recipe.name, "state": state, "message": message, "seconds": seconds}
            self._store.put("image-builds", recipe.name, record)
            _LOG.info("image %s: %s after %.1f s: %s", recipe.name, state.lower(), seconds, message)
            for listener in self._listeners.get(recipe.name, []) if state == "Building" else ():
                listener(message)

        try:
            folder = await _build(recipe, self._own_proxy, lambda message: report("Building", message))
        except asyncio.CancelledError:
            report("Interrupted", "the rehearsal was stopped")
            raise
        except BuildFailed as fault:
            report("Failed", str(fault))
            raise
        except OSError as fault:
            report("Failed", str(fault))
            raise BuildFailed(str(fault)) from fault
        report("Ready", str(folder))
        return folder


async def _build(recipe: Recipe, own_proxy: str, progress: Progress) -> Path:
    images = cache_folder() / "images"
    folder = images / f"{recipe.name}-{_fingerprint(recipe)}"
    if _is_complete(folder):
        return folder
    if recipe.requirements:
        progress(f"installing {', '.join(recipe.requirements)} (once; kept in {images})")
    images.mkdir(mode=0o700, parents=True, exist_ok=True)
    base = await _build(recipe.base, own_proxy, progress) if recipe.base else None
    async with _locked(folder.with_name(f"{folder.name}.lock"), progress) as lock:
        if not _is_complete(folder):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            indexes = await asyncio.to_thread(package_indexes, own_proxy)
            installer = _Installer(images, indexes.environment, lock, progress)
            await _make(recipe, folder, indexes.options, installer)
            await asyncio.to_thread(_add_files, recipe, folder, base)
            (folder / _COMPLETE).touch()
    return folder


def _is_complete(folder: Path) -> bool:
    # The interpreter's link dangles after the removal of its Python.
    return (folder / _COMPLETE).exists() and (folder / "bin" / "python").exists()


def _fingerprint(recipe: Recipe) -> str:
    """Return a hash of all inputs of the environment."""
    interpreter = (platform.python_version(), sys.base_prefix, sys.platform, platform.machine())
    parts = [recipe.requirements, recipe.constraints, sorted(recipe.programs.items()), _GUEST_PTH]
    if recipe.base:  # its files are in its name
        parts += [recipe.name, _fingerprint(recipe.base)]
    return hashlib.sha256(json.dumps([parts, interpreter]).encode()).hexdigest()[:12]


@contextlib.asynccontextmanager
async def _locked(path: Path, progress: Progress) -> AsyncIterator[int]:
    with path.open("w") as lock:
        waiting = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    progress("another rehearsal is building it: waiting")
                waiting = True
                await asyncio.sleep(_POLL_SECONDS)
        yield lock.fileno()


async def _make(recipe: Recipe, folder: Path, options: tuple[str, ...], installer: _Installer) -> None:
    from uv import find_uv_bin

    uv, python = find_uv_bin(), str(folder / "bin" / "python")
    await installer.run(
        *(uv, "venv", "--quiet", "--no-project", "--no-python-downloads", "--python", sys.executable, str(folder))
    )
    if recipe.requirements:
        constraints = folder / "constraints.txt"
        constraints.write_text(recipe.constraints)
        # The packages of a build include all their dependencies, and may violate the constraints.
        chosen = ("--no-deps",) if recipe.base else ("--constraints", str(constraints))
        # Compiling Airflow takes 23 s of CPU once, at low priority: without it each of many commands takes 3 s more.
        await installer.run(
            *("nice", uv, "pip", "install", "--compile-bytecode", "--python", python),
            *(*options, *chosen, *recipe.requirements),
        )


def _add_files(recipe: Recipe, folder: Path, base: Path | None) -> None:
    for name, text in recipe.programs.items():
        _write_program(folder / "bin" / name, text)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "airflowaks_guest.pth").write_text(_GUEST_PTH)
    for name, content in recipe.files.items():
        file = folder / FILES / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    if base is None:
        return
    (behind,) = base.glob("lib/python*/site-packages")
    # Its .pth files count too: it may have a base of its own.
    (site_packages / "airflowaks_base.pth").write_text(f"import site; site.addsitedir({str(behind)!r})\n")
    for program in (base / "bin").iterdir():
        if not program.is_symlink() and not (folder / "bin" / program.name).exists():
            _write_program(folder / "bin" / program.name, program.read_text().replace(str(base), str(folder)))


def _write_program(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


class _Installer:
    """Runs the programs of a build in sequence, and reports their output."""

    def __init__(self, folder: Path, environment: dict[str, str], lock: int, progress: Progress) -> None:
        self._folder = folder  # away from any project, whose settings uv would read
        self._environment = environment
        self._lock = lock
        self._progress = progress

    async def run(self, *command: str) -> list[str]:
        """Run a program and return its output lines; a cancelled build ends it and its descendants.

        Raises BuildFailed where it fails.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(self._lock,),
        )
        assert process.stdout is not None  # noqa: S101 - it was asked for above
        lines = []
        try:
            async for line in process.stdout:
                lines.append(line.decode(errors="replace").strip())
                if re.match(r"Resolved|Downloading|Prepared|Installed|Bytecode", lines[-1]):
                    self._progress(lines[-1])
            code = await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if code:
            raise BuildFailed(*lines)
        return lines
