"""Times as Azure, Kubernetes and the run records write them: RFC 3339, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp() -> str:
    """Return the time now, UTC in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
