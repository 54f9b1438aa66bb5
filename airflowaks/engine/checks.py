"""Checks: what was observed from outside of a step, and how that prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from airflowaks.engine.table import Table, Tabular

CHECKS_MIME = "application/vnd.airflowaks.checks+json"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One observation: what was looked at, whether it is as it should be (None: not looked), and what was seen."""

    name: str
    passed: bool | None
    seen: str
    action: str = ""
    began: float = 0.0
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """Return the verdict in a word."""
        return {True: "passed", False: "FAILED", None: "not run"}[self.passed]


class Checks(Tabular, tuple[Check, ...]):
    """The checks of a step; shows itself as a table."""

    __slots__ = ()

    @property
    def failed(self) -> Checks:
        """Return those that failed."""
        return Checks(check for check in self if check.passed is False)

    def summary(self) -> str:
        """Return the counts in one line."""
        verdicts = [check.verdict for check in self]
        counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in ("passed", "FAILED", "not run")]
        return (
            ", ".join(count for count in counts if not count.startswith("0 ")) + "." if verdicts else "None was made."
        )

    def table(self, title: str = "") -> Table:
        """Return the table: one row a check, what to do below one that failed."""
        rows = []
        for check in self:
            rows.append((check.verdict, check.name, check.seen, f"{check.seconds:.1f}"))
            if check.passed is False and check.action:
                rows.append(("", "", f"→ {check.action}", ""))
        data = {CHECKS_MIME: [{**asdict(check), "seconds": round(check.seconds, 2)} for check in self]}
        return Table(("", "check", "seen", "s"), rows, title, self.summary(), data)
