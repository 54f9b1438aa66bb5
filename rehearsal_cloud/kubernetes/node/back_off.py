"""The kubelet's back-off: 10 s after the first failure, doubled with each, 5 minutes at most."""

from __future__ import annotations

_FIRST_SECONDS = 10.0
_LONGEST_SECONDS = 300.0
_LOOK_SECONDS = 2.0


class BackOff:
    """The wait before the next attempt; the time scale shortens the real wait, not the reported one."""

    def __init__(self, time_scale: float) -> None:
        self._time_scale = time_scale
        self.nominal = 0.0

    @property
    def first_look(self) -> float:
        """Return the seconds for which a failure is shown before it is reported as a back-off."""
        return _LOOK_SECONDS * self._time_scale

    def next(self) -> float:
        """Count a failure, and return the seconds to wait."""
        self.nominal = min(self.nominal * 2 or _FIRST_SECONDS, _LONGEST_SECONDS)
        return self.nominal * self._time_scale

    def reset(self) -> None:
        """Forget the failures."""
        self.nominal = 0.0

    def __str__(self) -> str:
        """Return the nominal wait, as Go prints a duration."""
        minutes, seconds = divmod(round(self.nominal), 60)
        return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
