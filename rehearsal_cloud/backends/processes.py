"""Server processes, identified by their working folders: started, adopted and stopped.

A server outlives a killed rehearsal. Its working folder and program name identify it
from its first instruction on; a pid file may be missing, stale or reused.
"""

import asyncio
import contextlib
import grp
import hashlib
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

ANSWER_SECONDS = 30.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.03

# sun_path has 104 bytes on macOS and 108 on Linux, the final zero included; ".s.PGSQL.5432" needs 14 of them.
SOCKET_FOLDER_LENGTH = 104 - 1 - 14
_HIGHEST_GROUP = 0xFFFD  # containers often map no ID above 65535; the next two mean nobody


class ServerError(RuntimeError):
    """A server could not be created, started or stopped; the message has its program's output."""


@dataclass(frozen=True)
class Account:
    """The user that a server runs as when the rehearsal itself runs as root."""

    uid: int
    gid: int


def service_account() -> Account | None:
    """Return the account of servers that refuse root, or None for an ordinary user.

    Its group is nobody else's, so that no other process of `nobody` can enter what `_elsewhere` holds.
    """
    if os.geteuid() != 0:
        return None
    taken = {group.gr_gid for group in grp.getgrall()} | {user.pw_gid for user in pwd.getpwall()}
    return Account(pwd.getpwnam("nobody").pw_uid, next(gid for gid in range(_HIGHEST_GROUP, 0, -1) if gid not in taken))


def _execute(command: tuple[str | Path, ...], account: Account | None, folder: Path, stdin: bytes) -> tuple[int, str]:
    # A daemon would keep an inherited pipe open for ever; an open file does no harm.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command,
            input=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            # A clean environment: the rehearsal's may contain secrets, and LC_* and PG* would change the servers.
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            umask=0o077,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
        output.seek(0)
        return done.returncode, output.read().decode(errors="replace").strip()


def run(*command: str | Path, account: Account | None, folder: Path, stdin: bytes = b"") -> None:
    """Run a command to its end in a new session, without this process's environment and file descriptors.

    Raises ServerError with the command's output when it fails.
    """
    code, output = _execute(command, account, folder, stdin)
    if code:
        raise ServerError(f"{Path(command[0]).name} ended with {code}: {output}")


def reachable(path: Path, account: Account | None) -> bool:
    """Tell whether the account can enter the folder (or run the program) at path."""
    if account is None:
        return True
    code, _ = _execute(("test", "-x", path), account, Path("/"), b"")
    return code == 0


def _elsewhere(account: Account | None) -> Path:
    """Return the folder for data that cannot be at home; check that only this user can write to it."""
    base = (
        Path("/var/lib/airflowaks/servers") if account else Path(tempfile.gettempdir()) / f"airflowaks-{os.geteuid()}"
    )
    base.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    base.mkdir(mode=0o700, exist_ok=True)
    status = base.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ServerError(f"{base} is not a folder that only user {os.geteuid()} may write: remove it")
    if account:
        base.parent.chmod(0o711)  # whatever our umask is, the account must get through
        os.chown(base, 0, account.gid)
        base.chmod(0o710)
    return base


def claim(path: Path, account: Account | None, *, for_socket: bool = False) -> Path:
    """Create a private (0700) folder of the account at path and return its real path.

    If it cannot be at path (other processes of the account could enter it there; a socket's path would be too long),
    path is a symbolic link to it, so that later calls find it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        place = path.readlink()
        _elsewhere(account)
    elif path.is_dir():
        place = path
    else:
        short = len(os.fsencode(path)) <= SOCKET_FOLDER_LENGTH and re.fullmatch(r"[\w./+-]+", str(path), re.ASCII)
        if account is None and (short or not for_socket):
            place = path
        else:
            place = _elsewhere(account) / hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
            # Without its link, the folder belongs to a home that was removed by hand.
            shutil.rmtree(place, ignore_errors=True)
            path.symlink_to(place)
    place.mkdir(mode=0o700, exist_ok=True)
    if account:
        os.chown(place, account.uid, account.gid)
    return place


def part(folder: Path) -> Path:
    """Return a scratch path in `folder`, for content that is moved to its place when it is complete.

    Remains of a killed rehearsal are removed. Its program may still run, and remove its path
    on failure: so every call returns a new path.
    """
    for left in folder.glob("part*"):
        shutil.rmtree(left, ignore_errors=True)
    return folder / f"part-{secrets.token_hex(4)}"


def release(path: Path) -> None:
    """Remove a folder created by claim(), wherever it is."""
    place = path.readlink() if path.is_symlink() else path
    shutil.rmtree(place, ignore_errors=True)
    if place != path:
        path.unlink()


def remove(folder: Path) -> None:
    """Remove a folder and all folders claimed in it."""
    for path in folder.glob("*"):
        if path.is_symlink():
            release(path)
    shutil.rmtree(folder, ignore_errors=True)


class Server(ABC):
    """A server program with its own working folder; it outlives the rehearsal's process.

    start, stop and destroy may be repeated, but not run concurrently.
    """

    program: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    @abstractmethod
    def workplace(self) -> Path:
        """The working folder of the server's processes, which identifies them."""

    @abstractmethod
    async def _launch(self) -> None:
        """Start the program as a daemon; it is not running."""

    @abstractmethod
    async def _answers(self) -> bool:
        """Tell whether the server answers clients."""

    def _processes(self) -> list[psutil.Process]:
        workplace = str(self.workplace.resolve())
        return [process for process in psutil.process_iter() if self._works(process, workplace)]

    def _works(self, process: psutil.Process, workplace: str) -> bool:
        try:
            # The name too, so that a user's shell in this folder is not taken for a server.
            return process.name() == self.program and process.cwd().removesuffix(" (deleted)") == workplace
        except psutil.Error:  # gone, a zombie, or another user's
            return False

    def pids(self) -> list[int]:
        """Return the IDs of all live processes of this server, including adopted ones."""
        return [process.pid for process in self._processes()]

    async def start(self) -> None:
        """Adopt the running server or start it; it serves clients on return. Raises ServerError."""
        if await self._comes_up():
            return
        await self.stop()  # remains of a killed server
        await self._launch()
        if not await self._comes_up():
            raise ServerError(f"{self.program} in {self.folder} does not answer: see its log there")

    async def _comes_up(self) -> bool:
        deadline = time.monotonic() + ANSWER_SECONDS
        while self.pids() and time.monotonic() < deadline:
            if await self._answers():
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False

    async def stop(self) -> None:
        """Stop every process of the server, by force after 5 seconds. Raises ServerError when a process survives."""
        for how in (self.stop_signal, signal.SIGKILL):
            alive = self._processes()
            pids = {process.pid for process in alive}
            for process in alive:
                with contextlib.suppress(psutil.Error):
                    # The parent signals its children: to them this signal has a different meaning.
                    if how is signal.SIGKILL or process.ppid() not in pids:
                        process.send_signal(how)
            deadline = time.monotonic() + STOP_SECONDS
            workplace = str(self.workplace.resolve())
            while alive and time.monotonic() < deadline:
                alive = [process for process in alive if self._works(process, workplace)]
                await asyncio.sleep(POLL_SECONDS)
        if left := self.pids():
            raise ServerError(f"{self.program} in {self.folder} cannot be stopped: processes {left}")

    async def destroy(self) -> None:
        """Stop the server and remove all its folders, also outside of home."""
        await self.stop()
        await asyncio.to_thread(remove, self.folder)
