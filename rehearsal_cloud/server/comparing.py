"""The comparison of a trace with a fresh rehearsal, and its report."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal_cloud.comparison.client import Client
from rehearsal_cloud.comparison.replay import Replay
from rehearsal_cloud.home import Home
from rehearsal_cloud.server import daemon

if TYPE_CHECKING:
    from rehearsal_cloud.comparison.trace import Trace

_TIME_SCALE = 0.00005


def compare(trace: Trace) -> Replay:
    """Play `trace` to a rehearsal of its own, which ends with this, and return what differs. Raises DaemonFailed."""
    with tempfile.TemporaryDirectory(prefix="airflowaks-compare-", ignore_cleanup_errors=True) as folder:
        home = Home(Path(folder))
        settings = home.prepare(time_scale=_TIME_SCALE, replication_seconds=0)
        try:
            daemon.start(home, settings)
            replay = Replay(trace, Client(home, settings))
            replay.run()
        finally:
            daemon.reset(home)
    return replay


def report(replay: Replay) -> str:
    """Return the differences as text, those of a request together, and what was not compared."""
    lines, request = [], ""
    for (pattern, difference), times in sorted(replay.differing.items()):
        if pattern != request:
            request = pattern
            lines.append(request)
        often = f" ({times} times)" if times > 1 else ""
        lines.append(
            f"  {difference.place}{often}\n    Azure:     {difference.azure}\n    rehearsal: {difference.rehearsal}"
        )
    count = len(replay.differing)
    lines.append(f"{count or 'No'} difference{'' if count == 1 else 's'} in {replay.compared} answers.")
    if replay.skipped:
        lines.append(f"{replay.skipped.total()} answers were not compared:")
        lines += [f"  {times}: {reason}" for reason, times in replay.skipped.most_common()]
    return "\n".join(lines)
