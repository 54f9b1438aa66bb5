"""A picture of what ran when: one bar a name, side by side where they ran side by side."""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflowaks.engine.table import Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

_LABELS, _BARS, _SECONDS, _ROW, _AXIS = 180, 560, 100, 30, 28
_CHARACTER, _MOST_CHARACTERS = 7, 48
"""How wide a character of a label may be, and how many are shown."""
_FILL = {True: "#1d4ed8", False: "#b91c1c", None: "#9ca3af"}
_LINK, _FINDINGS = "#1d4ed8", "#What-is-wrong"
"""The heading of the findings in the notebook."""
_APART = 4
"""How many pixels are between moments that are drawn one by one."""
_MOST_TICKS, _LONG = 8, 600
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600)


@dataclass(frozen=True)
class Bar:
    """What ran from `begin` to `end`, in seconds; `well` is None where it has not ended or did not begin.

    `outcome` says in words how it ended, where `well` does not. With `points` it is drawn as these moments, not as a
    bar. `causes` are the findings that explain it.
    """

    name: str
    begin: float
    end: float
    well: bool | None
    outcome: str = ""
    points: tuple[float, ...] = ()
    causes: tuple[str, ...] = ()

    def __str__(self) -> str:
        outcome = self.outcome or {True: "done", False: "FAILED", None: "not finished"}[self.well]
        lasts = not self.points or self.end > self.begin
        when = f"{self.begin:.0f} s to {self.end:.0f} s" if lasts else f"at {self.begin:.0f} s"
        return ", ".join((f"{self.name}: {when}", outcome, *self.causes))


@dataclass(frozen=True)
class Timeline(Picture):
    """Bars over one axis of seconds; shows itself as SVG, and as a line of text for each bar.

    With `begin`, in seconds since 1970, the axis says the time of day (UTC) instead.
    """

    title: str
    bars: Sequence[Bar]
    begin: float | None = None

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {bar}" for bar in self.bars)])

    def svg(self) -> str:
        """Return the picture as SVG."""
        width, height = self._labels + _BARS + self._notes, _AXIS + _ROW * len(self.bars) + 10
        longest = max((bar.end for bar in self.bars), default=0.0) or 1.0
        step = next((seconds for seconds in _STEPS if longest / seconds <= _MOST_TICKS), _STEPS[-1])
        ticks = "".join(self._tick(second, longest, height) for second in range(0, int(longest) + 1, step))
        bars = "".join(self._bar(row, bar, longest) for row, bar in enumerate(self.bars))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img"'
            f' font-family="sans-serif" font-size="12"><title>{html.escape(str(self))}</title>'
            f'<rect width="{width}" height="{height}" fill="#fff"/>{ticks}{bars}</svg>'
        )

    @property
    def _labels(self) -> int:
        """Return the room for the labels, as wide as the longest needs."""
        return max([_LABELS, *(_CHARACTER * len(_label(bar)) + 20 for bar in self.bars)])

    @property
    def _notes(self) -> int:
        """Return the room for what stands behind the bars."""
        return max([_SECONDS, *(_CHARACTER * len(" ".join((_note(bar), *bar.causes))) + 20 for bar in self.bars)])

    def _tick(self, second: int, longest: float, height: int) -> str:
        x = self._labels + _BARS * second / longest
        label = f"{second // 60} min" if longest >= _LONG else f"{second} s"
        if self.begin is not None:
            label = f"{datetime.fromtimestamp(self.begin + second, UTC):%H:%M:%S}"
        return (
            f'<line x1="{x:.1f}" y1="{_AXIS - 6}" x2="{x:.1f}" y2="{height - 6}" stroke="#e5e7eb"/>'
            f'<text x="{x:.1f}" y="{_AXIS - 12}" text-anchor="middle" fill="#6b7280">{label}</text>'
        )

    def _bar(self, row: int, bar: Bar, longest: float) -> str:
        x, y = self._labels + _BARS * bar.begin / longest, _AXIS + _ROW * row
        width, label = max(2.0, _BARS * (bar.end - bar.begin) / longest), html.escape(_label(bar))
        drawn = (
            self._points(y, bar, longest)
            if bar.points
            else f'<rect x="{x:.1f}" y="{y + 5}" width="{width:.1f}" height="20" rx="3" fill="{_FILL[bar.well]}"/>'
        )
        note, causes = _note(bar), html.escape(" ".join(bar.causes))
        linked = f' <a href="{_FINDINGS}" fill="{_LINK}" font-weight="bold">{causes}</a>' if causes else ""
        return (
            f'<text x="{self._labels - 10}" y="{y + 19}" text-anchor="end" fill="#111827">{label}</text>{drawn}'
            f'<text x="{x + width + 8:.1f}" y="{y + 19}" fill="#374151">{html.escape(note)}{linked}</text>'
        )

    def _points(self, y: int, bar: Bar, longest: float) -> str:
        """Draw moments, one for each place where they can be told apart."""
        places = dict.fromkeys(round(_BARS * point / longest / _APART) * _APART for point in bar.points)
        circles = (f'<circle cx="{self._labels + place}" cy="{y + 15}" r="5"/>' for place in places)
        return f'<g fill="{_FILL[bar.well]}">{"".join(circles)}</g>'


def _label(bar: Bar) -> str:
    return bar.name if len(bar.name) <= _MOST_CHARACTERS else f"{bar.name[: _MOST_CHARACTERS - 1]}…"


def _note(bar: Bar) -> str:
    return bar.outcome if bar.points else _span(bar.end - bar.begin)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _LONG else f"{seconds / 60:.0f} min"
