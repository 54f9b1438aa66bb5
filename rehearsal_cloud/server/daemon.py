"""Start and stop the rehearsal's daemon: a process that outlives its starter."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import psutil

from rehearsal_cloud.kubernetes.container_processes import container_processes

if TYPE_CHECKING:
    from rehearsal_cloud.home import Home, Settings

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02
_ACTION = "→ "
_SERVERS = ("postgres", "valkey-server")
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(128 * 1024), "MALLOC_ARENA_MAX": "2"}
"""Give what each connection with TLS reads into, 256 KiB in asyncio, back to the system when the connection ends: by
default glibc takes it from its heap after the first one, where small blocks come between.
https://sourceware.org/glibc/manual/latest/html_node/Malloc-Tunable-Parameters.html
"""


class DaemonFailed(click.ClickException):
    """The daemon did not start, did not stop or does not run: two lines, what happened and what to do."""

    def __init__(self, message: str, action: str) -> None:
        super().__init__(f"{message}\n{_ACTION}{action}")

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the two lines to standard error."""
        click.echo(self.message, file, err=True)


def running(home: Home) -> psutil.Process | None:
    """Return the daemon's process, or None; the command line distinguishes it from a stale pid file."""
    try:
        process = psutil.Process(int(home.pid_file.read_text()))
        return process if str(home.folder) in process.cmdline() else None
    except (FileNotFoundError, NotADirectoryError, ValueError, psutil.Error):
        return None


def start(home: Home, settings: Settings) -> None:
    """Start the daemon and wait until it answers. Raises DaemonFailed with what it logged last."""
    with home.log.open("ab") as log:
        before = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "rehearsal_cloud", "serve", "--home", str(home.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=home.folder,
            env={**os.environ, **_MALLOC},
        )
    deadline = time.monotonic() + _START_SECONDS
    # Until the pid file names it, another program may be listening on the port and never answer.
    while (served := running(home)) is None or served.pid != process.pid or not answers(home, settings):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            logged = home.log.read_bytes()[before:].decode(errors="replace").splitlines() or ["it logged nothing."]
            action = logged.pop() if logged[-1].startswith(_ACTION) else f"See its log, {home.log}."
            raise DaemonFailed(f"The rehearsal cloud did not start: {logged[-1]}", action.removeprefix(_ACTION))
        time.sleep(_POLL_SECONDS)


def answers(home: Home, settings: Settings) -> bool:
    """Tell whether the daemon serves its HTTPS endpoint with this home's certificate."""
    if not home.ca_file.exists():
        return False
    url = f"https://localhost:{settings.https_port}/rehearsal/health"
    try:
        context = ssl.create_default_context(cafile=str(home.ca_file))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's OK
    except OSError:
        return False


def stop(home: Home) -> None:
    """Stop the daemon and all its processes, also those that a killed daemon left. Raises DaemonFailed."""
    daemon = running(home)
    if daemon is not None:
        with suppress(psutil.NoSuchProcess):
            daemon.send_signal(signal.SIGTERM)
    _end([daemon] if daemon else [])
    remaining = processes(home)
    for process in remaining:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGQUIT if process.name() == "postgres" else signal.SIGTERM)
    if alive := _end(remaining):
        message = f"Processes {', '.join(str(process.pid) for process in alive)} of {home.folder} do not end."
        raise DaemonFailed(message, "Kill them, then run the command again.")


def _end(ending: list[psutil.Process]) -> list[psutil.Process]:
    """Wait for the ending processes, kill those that do not end, and return the survivors."""
    alive = _alive_after(_STOP_SECONDS, ending)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return _alive_after(_STOP_SECONDS, alive)


def _alive_after(seconds: float, processes: list[psutil.Process]) -> list[psutil.Process]:
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return alive


def _lives(process: psutil.Process) -> bool:
    """Tell whether a process has not ended; a zombie has, because its parent may reap it late or never."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes(home: Home) -> list[psutil.Process]:
    """Return every process of this home: the daemon, the servers that work in a folder of its services, containers."""
    places = [home.services.resolve()]
    for service in home.services.glob("*"):
        with suppress(FileNotFoundError, NotADirectoryError):  # it may be deleted meanwhile
            places += [path.resolve() for path in service.iterdir() if path.is_symlink()]
    servers = [process for process in psutil.process_iter() if _works_below(process, places)]
    return [
        process for process in (running(home), *servers, *container_processes(home.services)) if process is not None
    ]


def _works_below(process: psutil.Process, places: list[Path]) -> bool:
    try:
        if process.name() not in _SERVERS:
            return False
        folder = Path(process.cwd().removesuffix(" (deleted)"))
    except psutil.Error:  # gone, a zombie, or another user's
        return False
    return any(folder.is_relative_to(place) for place in places)


def reset(home: Home) -> None:
    """Stop everything and delete it: the next start begins with an empty subscription. Raises DaemonFailed."""
    stop(home)
    if home.is_foreign:
        message = f"{home.folder} holds no rehearsal cloud; nothing was deleted."
        raise DaemonFailed(message, "Name the rehearsal's folder with --home or AIRFLOWAKS_HOME.")
    from rehearsal_cloud.backends.processes import remove

    for service in home.services.glob("*"):
        remove(service)  # also its folders outside of home
    home.clear()
