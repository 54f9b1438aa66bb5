"""Doing something again and again in a thread of its own, which ends as soon as it is told to."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 1.0
_LONGEST_SECONDS = 900.0
_STOP_SECONDS = 2.0


class Follower:
    """Calls `look` every second until `stop` is called, or a quarter of an hour is over: then it calls `ended`.

    The latter is for whoever closes the page, of which a kernel is not told.
    """

    def __init__(self, look: Callable[[], None], ended: Callable[[], None]) -> None:
        self._look = look
        self._ended = ended
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; what it is doing is waited for, but not for long."""
        self._over.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        deadline = time.monotonic() + _LONGEST_SECONDS
        while time.monotonic() < deadline:
            self._look()
            if self._over.wait(_SECONDS):
                return
        self._ended()
