"""Values that are made once, and shared: several threads may ask for them at the same time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class Once:
    """Values by key. Who asks while a value is being made waits for it; those of other keys are made meanwhile."""

    def __init__(self) -> None:
        self.made: dict[Hashable, Any] = {}
        self._locks: dict[Hashable, threading.RLock] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of the key: what `make` returned the first time that it did not raise."""
        if key not in self.made:
            with self._locks.setdefault(key, threading.RLock()):
                if key not in self.made:
                    self.made[key] = make()
        value: T = self.made[key]
        return value
