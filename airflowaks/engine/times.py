"""Times as Azure, Kubernetes and the run records write them (RFC 3339, in UTC), and durations for people."""

from __future__ import annotations

from datetime import UTC, datetime

_MINUTE = 60
_FEW_MINUTES = 300


def timestamp(at: datetime | None = None) -> str:
    """Return a time, by default the present, to the second: `2026-11-22T10:00:00Z`."""
    return (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Return the time that `text` names. Raises ValueError."""
    return datetime.fromisoformat(text)


def seconds_since(text: str) -> float:
    """Return how many seconds ago the time was that `text` names. Raises ValueError."""
    return (datetime.now(UTC) - parse_time(text)).total_seconds()


def duration(seconds: float) -> str:
    """Return a duration for people: `95 s`, and `12 min` from five minutes on."""
    return f"{seconds:.0f} s" if seconds < _FEW_MINUTES else f"{seconds / _MINUTE:.0f} min"
