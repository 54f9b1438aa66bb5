"""The lanes of the sweep, which its tests share."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from tests.support.torture.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.plugins.torture import Cases
    from tests.support.torture.lane import Recording
    from tests.support.torture.phases import Phase

LANES = 2 * (os.cpu_count() or 1)  # a run mostly waits


class Sweep:
    """Lanes side by side, and what the phases ask of them."""

    def __init__(self, lanes: list[Lane], recording: Recording) -> None:
        self._lanes, self.recording = lanes, recording

    def disturb(self, cases: Cases, phase: Phase, faults: tuple[str, ...]) -> None:
        """Try each fault on each kind of request that this phase is the first to send."""
        kinds = [kind for sender, kind in self.recording.kinds if sender is phase]
        named = {f"{phase}: {fault}: {kind}": (kind, fault) for kind in kinds for fault in faults}
        free: SimpleQueue[Lane] = SimpleQueue()
        for lane in self._lanes:
            free.put(lane)

        def attempt(name: str) -> None:
            kind, fault = named[name]
            lane = free.get()
            try:
                with cases.case(fault, name):
                    lane.disturb(phase, kind, fault)
            finally:
                free.put(lane)

        with ThreadPoolExecutor(len(self._lanes)) as pool:
            list(pool.map(attempt, filter(cases.selected, named)))

    def leftovers(self) -> list[str]:
        return [left for lane in self._lanes for left in lane.leftovers()]


@pytest.fixture(scope="session")
def sweep() -> Iterator[Sweep]:
    with ExitStack() as opened:
        first = opened.enter_context(Lane())
        recording = first.record()
        more = [opened.enter_context(Lane(recording=recording)) for _ in range(LANES - 1)]
        yield Sweep([first, *more], recording)
