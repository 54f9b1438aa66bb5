"""The scope of a diagnosis: start time, namespace and component."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflowaks.engine.times import parse_time, timestamp
from airflowaks.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

LABELS = "app.kubernetes.io/name=airflow"
COMPONENT = "app.kubernetes.io/component"
# Azure keeps the activity log no longer: https://learn.microsoft.com/azure/azure-monitor/platform/activity-log
_LONGEST = timedelta(days=90)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Scope:
    """The start time, before which ended events do not count, the namespace, and a component (empty: all)."""

    since: datetime
    namespace: str
    component: str = ""

    @property
    def labels(self) -> str:
        """Return the label selector of Airflow's objects."""
        return f"{LABELS},{COMPONENT}={self.component}" if self.component else LABELS

    @property
    def start(self) -> str:
        """Return the start time for a query."""
        return timestamp(self.since)

    def covers(self, at: str) -> bool:
        """Tell whether a time (ISO 8601) is in scope; an empty one is."""
        return not at or parse_time(at) >= self.since


def component_of(document: Mapping[str, Any]) -> str:
    """Return the component of Airflow to which an object belongs; empty if there is none."""
    return str(document["metadata"].get("labels", {}).get(COMPONENT, ""))


def period(text: str) -> datetime:
    """Return the time `text` (`90m`, `2h`, `1d`) ago. Raises InvalidParameter."""
    match = re.fullmatch("([0-9]{1,9})([mhd])", text)
    if not match:
        raise InvalidParameter(f'since must be a period; got "{text}".', 'Write it like "90m", "2h" or "1d".')
    length = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if not timedelta() < length <= _LONGEST:
        message = f"since must be longer than nothing and at most {_LONGEST.days} days; got {text}."
        raise InvalidParameter(message, 'Write it like "90m", "2h" or "1d".')
    return datetime.now(UTC) - length
