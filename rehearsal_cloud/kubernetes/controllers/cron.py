"""Cron schedules: minute, hour, day of the month, month, day of the week.

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_LONGEST_DAYS = 366 * 5  # the 29th of February comes every four years, or eight


@dataclass(frozen=True)
class Schedule:
    """A cron schedule: the values that each field may have."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    """Whether day of the month and of the week are both restricted: then one of them is enough."""

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Return the schedule. Raises ValueError."""
        minute, hour, day, month, weekday = _WORDS.get(text, text).split()
        return cls(
            minutes=_field(minute, 0, 59),
            hours=_field(hour, 0, 23),
            days=_field(day, 1, 31),
            months=_field(month, 1, 12, _MONTHS, 1),
            weekdays=frozenset(number % 7 for number in _field(weekday, 0, 7, _DAYS, 0)),
            either_day=day[0] not in "*?" and weekday[0] not in "*?",
        )

    def next(self, after: datetime) -> datetime | None:
        """Return the first due time after a moment, in that moment's time zone, or None."""
        moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for offset in range(_LONGEST_DAYS):
            day = (moment + timedelta(days=offset)).date()
            if day.month not in self.months or not self._matches_day(day.day, (day.weekday() + 1) % 7):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    due = datetime(day.year, day.month, day.day, hour, minute, tzinfo=after.tzinfo)
                    if due >= moment:
                        return due
        return None

    def _matches_day(self, day: int, weekday: int) -> bool:
        matches = (day in self.days, weekday in self.weekdays)
        return any(matches) if self.either_day else all(matches)


def _field(text: str, first: int, last: int, names: list[str] | None = None, names_from: int = 0) -> frozenset[int]:
    def number(word: str) -> int:
        lower = word.lower()
        return names.index(lower) + names_from if names and lower in names else int(word)

    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        if span in ("*", "?"):
            start, end = first, last
        else:
            start = number(low)
            end = number(high) if high else last if step else start
        if not first <= start <= end <= last or (step and int(step) < 1):
            raise ValueError(f"{part} is not between {first} and {last}")
        values.update(range(start, end + 1, int(step or 1)))
    return frozenset(values)
