"""The processes of containers, identified from outside by their shims' command lines, by descent, and by a mark.

A shim names its container's folder in its command line. Its processes descend from it, on Linux always, and have
the mark in their environment; a program may overwrite that (setproctitle does) or lose its parent, but rarely both.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "AIRFLOWAKS_CONTAINER"
"""The environment variable that names a container's folder in all of its processes."""

_SHIM = str(Path(__file__).parent / "node" / "shim.py")


def container_processes(folder: Path) -> list[psutil.Process]:
    """Return every process of the containers whose folders are below `folder`."""
    by_pid = {process.pid: process for process in psutil.process_iter(["ppid"])}
    marked = {pid for pid, process in by_pid.items() if _is_marked(process, folder)}
    parents = {pid: process.info["ppid"] for pid, process in by_pid.items()}
    return [by_pid[pid] for pid in sorted(marked | descendants(marked, parents))]


def descendants(ancestors: Iterable[int], parents: dict[int, int]) -> set[int]:
    """Return the processes and all their descendants; `parents` maps a process ID to its parent's."""
    family = set(ancestors)
    while new := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= new
    return family


def container_of(pid: int) -> Path | None:
    """Return the folder of the container that the process runs in, or None."""
    with contextlib.suppress(psutil.Error):  # it has ended
        process = psutil.Process(pid)
        for ancestor in (process, *process.parents()):
            words = ancestor.cmdline()
            if _SHIM in words:
                return next(Path(word) for word in words[words.index(_SHIM) + 1 :] if word.startswith("/"))
    return None


def _is_marked(process: psutil.Process, folder: Path) -> bool:
    try:
        words = process.cmdline()
        if _SHIM in words:
            return any(Path(word).is_relative_to(folder) for word in words)
        place = process.environ().get(MARK)
    except (psutil.Error, OSError):  # gone, a zombie, or another user's
        return False
    return place is not None and Path(place).is_relative_to(folder)
