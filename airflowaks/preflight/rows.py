"""The rows of a preflight: check, what was seen, verdict, and what to do; and their table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

from airflowaks.engine.table import Table, Tabular
from airflowaks.errors import PreflightStopped

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFLIGHT_MIME = "application/vnd.airflowaks.preflight+json"
Verdict = Literal["ok", "warns", "stops", "unknown"]


@dataclass(frozen=True)
class Row:
    """One check: an apply does not begin where its verdict is `stops`; `unknown` is what Azure did not answer."""

    check: str
    verdict: Verdict
    seen: str
    action: str = ""


@dataclass(frozen=True)
class Preflight(Tabular):
    """What a preflight has seen; shows itself as a table."""

    rows: Sequence[Row]
    applies: bool = False
    """Whether an apply is to follow."""

    @property
    def stopping(self) -> list[Row]:
        """Return the rows that stop an apply."""
        return [row for row in self.rows if row.verdict == "stops"]

    def raise_stopped(self) -> None:
        """Raise PreflightStopped before an apply that a verdict stops: what all of these saw, and what to do first."""
        stopping = self.stopping
        if self.applies and stopping:
            seen = "; ".join(f"{row.check}: {row.seen.rstrip('.')}" for row in stopping)
            message = f"{len(stopping)} of {len(self.rows)} checks stop this apply before it begins: {seen}."
            raise PreflightStopped(message, stopping[0].action or "Correct what the checks name.")

    def table(self, title: str = "") -> Table:
        """Return the table: one row a check, and below it what to do."""
        rows: list[tuple[str, str, str]] = []
        for row in self.rows:
            rows.append((row.verdict, row.check, row.seen))
            if row.action:
                rows.append(("", "", f"→ {row.action}"))
        verdicts = [row.verdict for row in self.rows]
        counts = ((verdicts.count(verdict), verdict) for verdict in get_args(Verdict))
        note = ", ".join(f"{count} {verdict}" for count, verdict in counts if count)
        data = {PREFLIGHT_MIME: [asdict(row) for row in self.rows]}
        return Table(("verdict", "check", "seen"), rows, title, f"{note}.", data)
