"""The log of a container as it grows, asked for again and again.

A stream (`follow=true`) would be nearer to `kubectl logs --follow`, but it ends whenever its container does or a proxy
loses patience, and cannot be told to stop while nothing comes. Asking again survives a restart, which is what one waits
for in an incident, and is over as soon as one no longer asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflowaks.kube.client import Kube, Reference

_WHOLE_SECONDS = len("2026-11-22T10:00:00")


class Tail:
    """What a container logs from now on, and before that its last `lines`."""

    def __init__(self, kube: Kube, pod: Reference, container: str, lines: int) -> None:
        self._kube = kube
        self._pod = pod
        self._container = container
        self._lines = lines
        self._last = ""

    def read(self) -> list[str]:
        """Return the lines that have come since the last call, secrets taken out. Raises KubernetesError."""
        # The API server passes on whole seconds only, so that lines of the same second come again.
        since = f"{self._last[:_WHOLE_SECONDS]}Z" if self._last else ""
        lines = 0 if since else self._lines
        text = self._kube.logs(self._pod, self._container, lines=lines, since=since, times=True)
        stamped = [line.partition(" ") for line in text.splitlines()]
        new = [(time, line) for time, _, line in stamped if time > self._last]
        if new:
            self._last = new[-1][0]
        return [self._kube.session.redactor.redact(line) for _, line in new]
