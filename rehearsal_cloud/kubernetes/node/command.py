"""A command in a container, in addition to the container's process."""

from __future__ import annotations

import asyncio
import contextlib
import os


class Command:
    """A command in a container; it ends with this program, or when it is closed."""

    def __init__(self, shim: asyncio.subprocess.Process, control: int) -> None:
        self._shim = shim
        self._control: int | None = control
        self.stdin, self.stdout, self.stderr = shim.stdin, shim.stdout, shim.stderr

    async def send(self, body: bytes) -> None:
        """Send the shim its configuration through a pipe, because everybody can read arguments."""
        assert self._control is not None  # noqa: S101 - it is sent right after the start
        # A pipe takes 64 KiB at once, and an environment may be longer.
        await asyncio.to_thread(_write, self._control, body)

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        return await self._shim.wait()

    def close(self) -> None:
        """Kill it and its descendants."""
        if self._control is not None:
            os.close(self._control)
            self._control = None


def _write(descriptor: int, body: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # the shim has ended: its exit code tells
        view = memoryview(body)
        while view:
            view = view[os.write(descriptor, view) :]
