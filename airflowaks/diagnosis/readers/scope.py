"""What a diagnosis looks at: since when, in which namespace, which component."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflowaks.engine.times import parse_time, timestamp
from airflowaks.errors import InvalidParameter

LABELS = "app.kubernetes.io/name=airflow"
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Scope:
    """Since when (what is over by then counts no more), the namespace, and a component (empty: all)."""

    since: datetime
    namespace: str
    component: str = ""

    @property
    def labels(self) -> str:
        """Return the label selector of Airflow's objects."""
        return f"{LABELS},app.kubernetes.io/component={self.component}" if self.component else LABELS

    @property
    def start(self) -> str:
        """Return since when as a query says it."""
        return timestamp(self.since)

    def covers(self, at: str) -> bool:
        """Tell whether a time (ISO 8601, as the services write it) is within; one that is not known is."""
        return not at or parse_time(at) >= self.since


def period(text: str) -> datetime:
    """Return the time that `text` (`90m`, `2h`, `1d`) ago was. Raises InvalidParameter."""
    found = re.fullmatch(r"(\d+)([mhd])", text)
    if not found:
        raise InvalidParameter(f'"{text}" is no period.', 'Write it like "90m", "2h" or "1d".')
    return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
