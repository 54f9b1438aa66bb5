"""Times in objects: RFC 3339, in whole seconds, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def stamp(moment: datetime | None = None) -> str:
    """Return a moment, by default now, in an object's format."""
    return (moment or now()).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """Parse an object's time."""
    return datetime.fromisoformat(text)


def seconds_since(text: str) -> float:
    """Return the seconds since an object's time."""
    return (now() - moment(text)).total_seconds()
