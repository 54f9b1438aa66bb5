"""Times as objects carry them: RFC 3339, in whole seconds, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present."""
    return datetime.now(UTC)


def stamp(moment: datetime | None = None) -> str:
    """Return the moment, or the present, as an object carries it."""
    return (moment or now()).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """Return the moment that an object carries."""
    return datetime.fromisoformat(text)


def seconds_since(text: str) -> float:
    """Return how many seconds ago the moment was that an object carries."""
    return (now() - moment(text)).total_seconds()
