"""Wait for the end of a process that is not a child, without polling: pidfd on Linux, kqueue on macOS."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _watch(pid: int) -> tuple[int, Callable[[], None]]:
    """Return a descriptor that becomes readable when the process ends, and the function that closes it.

    Raises ProcessLookupError.
    """
    if sys.platform == "linux":
        descriptor = os.pidfd_open(pid)
        return descriptor, lambda: os.close(descriptor)
    queue = select.kqueue()
    event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
    try:
        queue.control([event], 0)
    except OSError:
        queue.close()
        raise
    return queue.fileno(), queue.close


class ProcessExit:
    """The end of a process: create it while the process lives, then await it."""

    def __init__(self, pid: int) -> None:
        loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        try:
            self._descriptor, self._close = _watch(pid)
        except ProcessLookupError:
            self._ended.set()
            self._descriptor = -1
        else:
            loop.add_reader(self._descriptor, self._end)

    async def wait(self) -> None:
        """Wait until the process has ended."""
        await self._ended.wait()

    def _end(self) -> None:
        self.close()
        self._ended.set()

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor == -1:
            return
        asyncio.get_running_loop().remove_reader(self._descriptor)
        self._close()
        self._descriptor = -1
