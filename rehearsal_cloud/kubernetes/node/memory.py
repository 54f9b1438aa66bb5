"""Memory limits of processes: a container that exceeds its limit is killed, like the kernel's OOM killer does."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import psutil

from rehearsal_cloud.kubernetes.container_processes import descendants
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rehearsal_cloud.kubernetes.node.container import Container
    from rehearsal_cloud.kubernetes.node.runtime import Run

_LOOK_SECONDS = 5.0


async def watch(containers: Callable[[], Iterable[Container]]) -> None:
    """Check the memory of containers with a limit, until cancelled."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        limits: list[tuple[Run, int]] = []
        for container in containers():
            limit = ((container.spec.get("resources") or {}).get("limits") or {}).get("memory")
            if limit and container.run is not None and container.run.alive():
                limits.append((container.run, int(amount(limit))))
        if limits:
            for run in await asyncio.to_thread(_over_limit, limits):
                run.kill_for_memory()


def _over_limit(limits: list[tuple[Run, int]]) -> list[Run]:
    by_pid = {process.pid: process for process in psutil.process_iter(["ppid"])}
    parents = {pid: process.info["ppid"] for pid, process in by_pid.items()}
    return [run for run, limit in limits if _exceeds([by_pid[pid] for pid in _pids(run, parents)], limit)]


def _pids(run: Run, parents: dict[int, int]) -> set[int]:
    return descendants({run.pid}, parents) & parents.keys()


def _exceeds(processes: list[psutil.Process], limit: int) -> bool:
    """Tell whether the processes use more. Shared memory counts once, in a second look because that is slow."""
    return _used(processes, exact=False) > limit and _used(processes, exact=True) > limit


def _used(processes: list[psutil.Process], *, exact: bool) -> int:
    used = 0
    for process in processes:
        try:
            if exact:
                full = process.memory_full_info()
                used += full.pss if sys.platform == "linux" else full.uss
            else:
                used += process.memory_info().rss
        except psutil.Error:
            continue
    return used
