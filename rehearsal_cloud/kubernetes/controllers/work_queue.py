"""The work queue of a controller: each key waits at most once; a failed key returns after a back-off.

Back-off as client-go's default rate limiter has it, 5 ms doubling to 1000 s:
https://pkg.go.dev/k8s.io/client-go/util/workqueue
"""

from __future__ import annotations

import asyncio
from collections import Counter

Key = tuple[str, ...]

_FIRST_SECONDS = 0.005
_LONGEST_SECONDS = 1000.0


class WorkQueue:
    """Keys to reconcile, in the order in which they became due."""

    def __init__(self) -> None:
        self._due: dict[Key, None] = {}
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._failures: Counter[Key] = Counter()
        self._ready = asyncio.Event()

    def add(self, key: Key) -> None:
        """Queue the key for reconciliation."""
        if timer := self._later.pop(key, None):
            timer.cancel()
        self._due[key] = None
        self._ready.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Queue the key after `seconds`, unless it is due earlier."""
        loop = asyncio.get_running_loop()
        timer = self._later.get(key)
        if key in self._due or (timer is not None and timer.when() <= loop.time() + seconds):
            return
        if timer is not None:
            timer.cancel()
        self._later[key] = loop.call_later(seconds, self.add, key)

    def retry(self, key: Key) -> None:
        """Queue the key again after a failure; each consecutive failure doubles the wait."""
        self.add_after(key, min(_FIRST_SECONDS * 2 ** self._failures[key], _LONGEST_SECONDS))
        self._failures[key] += 1

    def forget(self, key: Key) -> None:
        """Forget the key's failures: it succeeded."""
        self._failures.pop(key, None)

    async def next(self) -> Key:
        """Wait until a key is due, and take it out."""
        while not self._due:
            self._ready.clear()
            await self._ready.wait()
        key = next(iter(self._due))
        del self._due[key]
        return key

    def close(self) -> None:
        """Drop the delayed keys."""
        for timer in self._later.values():
            timer.cancel()
        self._later.clear()
