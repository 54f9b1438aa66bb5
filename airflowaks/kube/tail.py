"""Follows a container's log by polling.

A stream (`follow=true`), as in `kubectl logs --follow`, ends with its container or at a proxy's timeout, and cannot be
stopped while no line arrives. Polling survives a restart and stops at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.kube.kubelet import read_log

if TYPE_CHECKING:
    from airflowaks.kube.client import Kube, Reference

_WHOLE_SECONDS = len("2026-11-22T10:00:00")


class Tail:
    """The log of a container, beginning with its last `lines`."""

    def __init__(self, kube: Kube, pod: Reference, container: str, lines: int) -> None:
        self._kube = kube
        self._pod = pod
        self._container = container
        self._lines = lines
        self._last = ""

    def read(self) -> list[str]:
        """Return the new lines since the last call, secrets masked. Raises KubernetesError."""
        # The API server rounds the time to whole seconds, so lines of the same second are returned again.
        since = f"{self._last[:_WHOLE_SECONDS]}Z" if self._last else ""
        lines = 0 if since else self._lines
        text = read_log(self._kube, self._pod, self._container, lines=lines, since=since, times=True)
        stamped = [line.partition(" ") for line in text.splitlines()]
        new = [(time, line) for time, _, line in stamped if time > self._last]
        if new:
            self._last = new[-1][0]
        return [self._kube.session.redactor.redact(line) for _, line in new]
