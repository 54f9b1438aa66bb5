"""Checks: observations from outside that a step really works, and how they print."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

from airflowaks.cloud.error_mapping import translate
from airflowaks.engine.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflowaks.session import Session

CHECKS_MIME = "application/vnd.airflowaks.checks+json"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One observation: what was looked at, whether it is as it should be (None: not looked), and what was seen."""

    name: str
    passed: bool | None
    seen: str
    action: str = ""
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """Return the verdict in a word."""
        return {True: "passed", False: "FAILED", None: "not run"}[self.passed]


@dataclass(frozen=True)
class Checks(Sequence[Check]):
    """The checks of a step; shows itself as a table."""

    checks: tuple[Check, ...]

    @overload
    def __getitem__(self, index: int) -> Check: ...
    @overload
    def __getitem__(self, index: slice) -> Checks: ...
    def __getitem__(self, index: int | slice) -> Check | Checks:
        return Checks(self.checks[index]) if isinstance(index, slice) else self.checks[index]

    def __len__(self) -> int:
        return len(self.checks)

    @property
    def failed(self) -> Checks:
        """Return those that failed."""
        return Checks(tuple(one for one in self if one.passed is False))

    def summary(self) -> str:
        """Return the counts in one line."""
        verdicts = [one.verdict for one in self]
        counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in ("passed", "FAILED", "not run")]
        return (
            ", ".join(count for count in counts if not count.startswith("0 ")) + "." if verdicts else "None was made."
        )

    def table(self, title: str = "") -> Table:
        """Return the table: one row a check, what to do below one that failed."""
        rows = []
        for one in self:
            rows.append((one.verdict, one.name, one.seen, f"{one.seconds:.1f}"))
            if one.passed is False and one.action:
                rows.append(("", "", f"→ {one.action}", ""))
        data = {CHECKS_MIME: [{**asdict(one), "seconds": round(one.seconds, 2)} for one in self]}
        return Table(("", "check", "seen", "s"), rows, title, self.summary(), data)

    def __str__(self) -> str:
        return str(self.table())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return self.table()._repr_mimebundle_(include, exclude)


def observe(session: Session, observations: Mapping[str, Callable[[], str]]) -> Checks:
    """Make observations side by side and keep them in the session.

    Each returns what it saw, or raises where that is not as it should be. A plan makes none: nothing need exist yet.
    """

    def make(name: str, look: Callable[[], str]) -> Check:
        if session.mode == "plan":
            return Check(name=name, passed=None, seen="a plan looks at nothing")
        started = time.monotonic()
        try:
            seen, passed, action = session.redactor.redact(look()), True, ""
        except Exception as error:  # noqa: BLE001 - whatever went wrong is what the check has seen
            known = translate(error, name, session.redactor)
            seen, passed, action = session.redactor.redact(known.message), False, known.action
        return Check(name=name, passed=passed, seen=seen, action=action, seconds=time.monotonic() - started)

    with ThreadPoolExecutor() as pool:
        checks = Checks(tuple(pool.map(lambda one: make(*one), observations.items())))
    session.checks.extend(checks)
    return checks
