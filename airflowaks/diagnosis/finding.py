"""Findings: what is wrong, why, what says so, and what to do; causes first, with what follows from them below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, overload

from airflowaks.engine.table import Table, Tabular

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.engine.changes import Changes
    from airflowaks.session import Session

FINDINGS_MIME = "application/vnd.airflowaks.findings+json"


class Severity(StrEnum):
    """How bad it is: Airflow does not work, it will not for long or not as it should, or it is good to know."""

    CRITICAL = "critical"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """Return what sorts the worst first."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """One cause: a stable ID, one sentence, the lines that say so, and what to do about it.

    `heal` is the step function that puts it right through `converge`, where that is safe. `about` are the components
    of Airflow that it is about; empty is all of them. `consequences` are findings that are gone once this one is.
    """

    id: str
    severity: Severity
    cause: str
    fix: str
    link: str = ""
    evidence: tuple[str, ...] = ()
    about: frozenset[str] = frozenset()
    remedy: Callable[[Session], Changes] | None = field(default=None, compare=False, repr=False)
    consequences: tuple[Finding, ...] = ()

    def concerns(self, other: Finding) -> bool:
        """Tell whether both are about the same component, or either about all."""
        return not self.about or not other.about or not self.about.isdisjoint(other.about)

    def record(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return {
            "id": self.id,
            "severity": self.severity.value,
            "cause": self.cause,
            "fix": self.fix,
            "link": self.link,
            "evidence": list(self.evidence),
            "about": sorted(self.about),
            "automatic": self.remedy is not None,
            "consequences": [one.record() for one in self.consequences],
        }

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield the finding's rows of a table."""
        yield self.id, self.severity.value, self.cause
        for line in self.evidence:
            yield "", "", f"  | {line}"
        automatic = f" Or have it done: mode=apply, fix={self.id}." if self.remedy else ""
        yield "", "", f"→ {self.fix}{automatic}" + (f" {self.link}" if self.link else "")
        for one, times in self.follows():
            yield "", "", f"  so: {one.cause} ({one.id}{f', {times} times' if times > 1 else ''})"

    def follows(self) -> list[tuple[Finding, int]]:
        """Return the consequences, each with how often it was found in the same words."""
        times = Counter((one.id, one.cause) for one in self.consequences)
        first = {(one.id, one.cause): one for one in reversed(self.consequences)}
        return [(first[key], count) for key, count in times.items()]


@dataclass(frozen=True)
class Findings(Tabular, Sequence[Finding]):
    """The causes that were found, the worst first; shows itself as a table."""

    findings: tuple[Finding, ...]

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Findings: ...
    def __getitem__(self, index: int | slice) -> Finding | Findings:
        return Findings(self.findings[index]) if isinstance(index, slice) else self.findings[index]

    def __len__(self) -> int:
        return len(self.findings)

    def of(self, severity: Severity) -> Findings:
        """Return those of one severity."""
        return Findings(tuple(one for one in self if one.severity is severity))

    def summary(self) -> str:
        """Return the counts in one line."""
        counts = [f"{len(self.of(one))} {one.value}" for one in Severity if self.of(one)]
        return f"{', '.join(counts)}." if counts else "Nothing is wrong."

    def table(self, title: str = "") -> Table:
        """Return the table under its counts: cause, evidence, what to do, and what follows from it."""
        rows = [row for one in self for row in one.rows()]
        data = {FINDINGS_MIME: [one.record() for one in self]}
        above = f"{title}: {self.summary()}" if title else self.summary()
        return Table(("finding", "severity", "cause, evidence, what to do"), rows, above, data=data)


def arrange(
    found: Sequence[Finding], effects: Callable[[str], tuple[str, ...]], order: Callable[[str], int]
) -> Findings:
    """Return `found` with consequences below their causes; a cause is as bad as the worst that follows from it.

    `effects` gives for an ID the beginnings of the IDs that follow from it; only what is later by `order` can.
    """
    known = sorted(found, key=lambda one: order(one.id))
    roots: list[int] = []
    below: dict[int, list[Finding]] = {}
    for index, one in enumerate(known):
        cause = _cause(one, known[:index], effects)
        roots.append(index if cause is None else roots[cause])
        below.setdefault(roots[index], []).append(one)
    arranged = []
    for root, (one, *consequences) in below.items():
        worst = min((one.severity, *(each.severity for each in consequences)), key=lambda severity: severity.rank)
        arranged.append(replace(known[root], severity=worst, consequences=tuple(consequences)))
    return Findings(tuple(sorted(arranged, key=lambda one: one.severity.rank)))


def _cause(one: Finding, before: Sequence[Finding], effects: Callable[[str], tuple[str, ...]]) -> int | None:
    """Return which finding is the cause of `one`: about the same component rather than all, named more closely."""
    best: tuple[bool, int] = (False, 0)
    cause = None
    for index, each in enumerate(before):
        closest = max((len(effect) for effect in effects(each.id) if one.id.startswith(effect)), default=0)
        fit = (not each.about.isdisjoint(one.about), closest)
        if closest and each.concerns(one) and fit > best:
            best, cause = fit, index
    return cause
