"""Findings: causes with evidence and fix, and their consequences below them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflowaks.engine.table import Table, Tabular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflowaks.engine.changes import Changes
    from airflowaks.session import Session

# The names of environment variables.
_SETTING = re.compile(r"\b[A-Z][A-Z0-9]*(?:_+[A-Z0-9]+)+\b")
_FAILED_TASK = re.compile(r"task \S+ of DAG \S+ at \d[\dT:-]*Z")
FINDINGS_MIME = "application/vnd.airflowaks.findings+json"


class Severity(StrEnum):
    """Critical: Airflow does not work. Warning: it may soon fail, or deviates. Note: for information."""

    CRITICAL = "critical"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """Return a sort key, the worst first."""
        return list(Severity).index(self)

    def counted(self, number: int) -> str:
        """Return so many of them in words, such as `2 warnings`."""
        return f"{number} {self.value}{'s' * (number > 1 and self is not Severity.CRITICAL)}"


@dataclass(frozen=True)
class Finding:
    """One finding: a stable ID, the cause in one sentence, its evidence and its fix.

    `remedy` is the step function that fixes it through `converge`, where that is safe. `components` are the affected
    components of Airflow, all of them if empty. `consequences` are findings that this one causes; `changes` are those
    that `may_explain` it: somebody changed what it is about. `over` means that only the past shows it.
    """

    id: str
    severity: Severity
    cause: str
    fix: str
    link: str = ""
    evidence: tuple[str, ...] = ()
    components: frozenset[str] = frozenset()
    remedy: Callable[[Session], Changes] | None = field(default=None, compare=False, repr=False)
    consequences: tuple[Finding, ...] = ()
    may_explain: bool = False
    changes: tuple[Finding, ...] = ()
    over: bool = False

    def ended(self, at: str) -> Finding:
        """Return the finding as a note about the past: it was seen last at `at`, and tasks have succeeded since."""
        return replace(
            self,
            severity=Severity.NOTE,
            cause=f"Over, last seen at {at}: {self.cause}",
            fix="Do nothing: a task that began after that has succeeded. Clear the tasks that failed because of it.",
            remedy=None,
            over=True,
        )

    @property
    def failed_tasks(self) -> set[str]:
        """Return the failed tasks that the evidence names."""
        return set(_FAILED_TASK.findall(" ".join(self.evidence)))

    def shares_component(self, finding: Finding) -> bool:
        """Tell whether both affect the same component, or one of them affects all."""
        return not self.components or not finding.components or not self.components.isdisjoint(finding.components)

    def record(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return {
            "id": self.id,
            "severity": self.severity.value,
            "cause": self.cause,
            "fix": self.fix,
            "link": self.link,
            "evidence": list(self.evidence),
            "components": sorted(self.components),
            "automatic": self.remedy is not None,
            "consequences": [consequence.record() for consequence in self.consequences],
            "changes": [change.record() for change in self.changes],
        }

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield the finding's table rows."""
        yield self.id, self.severity.value, self.cause
        for line in self.evidence:
            yield "", "", f"  | {line}"
        automatic = f" To apply this fix automatically, set mode=apply and fix={self.id}." if self.remedy else ""
        yield "", "", f"→ {self.fix}{automatic}" + (f" {self.link}" if self.link else "")
        for change in self.changes:
            (_, _, cause), *lines = change.rows()
            yield "", "", f"  perhaps because: {cause} ({change.id})"
            yield from lines
        for consequence, count in self.counted_consequences():
            times = f", {count} times" if count > 1 else ""
            yield "", "", f"  so: {consequence.cause} ({consequence.id}{times})"

    def fixable(self) -> list[Finding]:
        """Return those that have a remedy: the changes that may explain the finding first, then the finding."""
        return [finding for finding in (*self.changes, self) if finding.remedy is not None]

    def counted_consequences(self) -> list[tuple[Finding, int]]:
        """Return the distinct consequences, each with its count."""
        counts = Counter((finding.id, finding.cause) for finding in self.consequences)
        first = {(finding.id, finding.cause): finding for finding in reversed(self.consequences)}
        return [(first[key], count) for key, count in counts.items()]


class Findings(Tabular, tuple[Finding, ...]):
    """The findings, the worst first; displays as a table."""

    __slots__ = ()

    def of(self, severity: Severity) -> Findings:
        """Return the findings of one severity."""
        return Findings(finding for finding in self if finding.severity is severity)

    def recovered(self, before: Findings, fix: str) -> bool:
        """Tell whether nothing critical is left but what was critical `before`, beside what `fix` has mended."""
        others = {finding.id for finding in before if fix not in {each.id for each in (finding, *finding.changes)}}
        return others.issuperset(finding.id for finding in self.of(Severity.CRITICAL))

    def summary(self) -> str:
        """Return the counts in one line."""
        counts = [severity.counted(len(self.of(severity))) for severity in Severity if self.of(severity)]
        return f"{', '.join(counts)}." if counts else "Nothing is wrong."

    def table(self, title: str = "") -> Table:
        """Return the table: of each finding cause, evidence, fix and consequences; the counts are the heading."""
        rows = [row for finding in self for row in finding.rows()]
        data = {FINDINGS_MIME: [finding.record() for finding in self]}
        heading = f"{title}: {self.summary()}" if title else self.summary()
        return Table(("finding", "severity", "cause, evidence, fix"), rows, heading, data=data)


def arrange(
    findings: Sequence[Finding], effects: Callable[[str], tuple[str, ...]], order: Callable[[str], int]
) -> Findings:
    """Return the root causes with their consequences; a root cause gets the worst severity among them.

    `effects` returns the ID prefixes of a finding's effects. Only a finding that is later by `order` can be an effect.
    """
    ordered = sorted(findings, key=lambda finding: order(finding.id))
    roots: list[int] = []
    groups: dict[int, list[Finding]] = {}
    for index, finding in enumerate(ordered):
        cause = _cause(finding, ordered[:index], effects)
        roots.append(index if cause is None else roots[cause])
        groups.setdefault(roots[index], []).append(finding)
    arranged = []
    for root, *consequences in groups.values():
        severities = [finding.severity for finding in (root, *(() if root.over else consequences))]
        worst = min(severities, key=lambda severity: severity.rank)
        arranged.append(replace(root, severity=worst, consequences=tuple(consequences)))
    return Findings(sorted(_with_changes(arranged), key=lambda finding: finding.severity.rank))


def _with_changes(roots: Sequence[Finding]) -> list[Finding]:
    """Return the roots, each change below the first of the others that names one of its components or settings."""
    others = [root for root in roots if not root.may_explain]
    for change in roots:
        if change.may_explain:
            explained = (index for index, root in enumerate(others) if _explains(change, root))
            if (index := next(explained, None)) is None:
                others.append(change)
            else:
                others[index] = replace(others[index], changes=(*others[index].changes, change))
    return others


def _explains(change: Finding, finding: Finding) -> bool:
    settings = set(_SETTING.findall(" ".join(change.evidence)))
    named = settings.intersection(_SETTING.findall(" ".join((finding.cause, finding.fix, *finding.evidence))))
    if named or not finding.components.isdisjoint(change.components):
        return True
    containers = [f", container {component}," for component in change.components]
    return any(container in line for container in containers for line in finding.evidence)


def _cause(effect: Finding, candidates: Sequence[Finding], effects: Callable[[str], tuple[str, ...]]) -> int | None:
    """Return the index of the cause of `effect`: first one with a common named component, then the longest prefix.

    What the log of a failed task tells is the cause of that failure, whatever its exception; what is over, of no other.
    """
    best: tuple[bool, int] = (False, 0)
    cause = None
    for index, candidate in enumerate(candidates):
        prefixes = () if candidate.over else effects(candidate.id)
        longest = max((len(prefix) for prefix in prefixes if effect.id.startswith(prefix)), default=0)
        if not candidate.failed_tasks.isdisjoint(effect.failed_tasks):
            longest = len(effect.id)
        fit = (not candidate.components.isdisjoint(effect.components), longest)
        if longest and candidate.shares_component(effect) and fit > best:
            best, cause = fit, index
    return cause
