"""Refreshing what is shown, every second, in a thread of its own: the kernel's is busy with what is waited for."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 1.0


class Refresher:
    """Calls `refresh` every second until `stop`, or the end of its `with` block; after `seconds` calls `expired`."""

    def __init__(
        self, refresh: Callable[[], None], *, seconds: float = math.inf, expired: Callable[[], None] = lambda: None
    ) -> None:
        self._refresh = refresh
        self._seconds = seconds
        self._expired = expired
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refresher", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self, seconds: float | None = None) -> None:
        """Stop it, and wait for the refresh that runs, at most for `seconds`."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        deadline = time.monotonic() + self._seconds
        while not self._stopped.wait(_SECONDS):
            if time.monotonic() > deadline:
                self._expired()
                return
            self._refresh()
