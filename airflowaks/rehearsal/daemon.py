"""Starting and stopping the rehearsal's daemon from outside: a process of its own that outlives who started it."""

from __future__ import annotations

import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from airflowaks.rehearsal.home import Home, Settings

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


class DaemonFailed(Exception):
    """The daemon did not come up, or did not go down."""


def running(home: Home) -> psutil.Process | None:
    """Return the daemon's process, or None. A stale pid file is told from a live daemon by the command line."""
    try:
        process = psutil.Process(int(home.pid_file.read_text()))
        return process if str(home.folder) in process.cmdline() else None
    except (FileNotFoundError, ValueError, psutil.Error):
        return None


def start(home: Home, settings: Settings) -> None:
    """Start the daemon and wait until it answers. Raises DaemonFailed with the last lines of its log."""
    with home.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflowaks.rehearsal", "serve", "--home", str(home.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=home.folder,
        )
    deadline = time.monotonic() + _START_SECONDS
    while not answers(home, settings):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            tail = "\n".join(home.log.read_text(errors="replace").splitlines()[-5:])
            text = f"the rehearsal cloud did not start; the end of {home.log}:\n{tail}"
            raise DaemonFailed(text)
        time.sleep(0.05)


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
    """Stop the daemon and everything behind it, also what a killed daemon left running. Raises DaemonFailed."""
    daemon = running(home)
    if daemon is not None:
        daemon.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs([daemon] if daemon else [], _STOP_SECONDS)
    for process in alive:
        process.kill()
    left = processes(home)
    for process in left:
        process.send_signal(signal.SIGQUIT if process.name() == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(left, _STOP_SECONDS)
    for process in alive:
        process.kill()
    _, alive = psutil.wait_procs(alive, _STOP_SECONDS)
    if alive:
        text = f"processes {', '.join(str(one.pid) for one in alive)} of {home.folder} do not end"
        raise DaemonFailed(text)


def processes(home: Home) -> list[psutil.Process]:
    """Return every process of this home: the daemon, and the servers that carry a pid file below `services`."""
    found = [running(home)]
    for pid_file in [*home.services.glob("*/*.pid"), *home.services.glob("*/*/postmaster.pid")]:
        try:
            process = psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))
            found.append(process if process.name() in ("postgres", "valkey-server") else None)
        except (FileNotFoundError, ValueError, psutil.Error):
            continue
    return [one for one in found if one is not None]


def reset(home: Home) -> None:
    """Stop everything and forget it: the next start begins with an empty subscription. Raises DaemonFailed."""
    stop(home)
    if not home.folder.exists():
        return
    if home.settings() is None:
        text = f"{home.folder} holds no rehearsal cloud; nothing was deleted"
        raise DaemonFailed(text)
    shutil.rmtree(home.folder)
