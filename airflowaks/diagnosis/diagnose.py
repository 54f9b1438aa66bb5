"""Diagnosis: look at everything, and say what is wrong, why, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflowaks.diagnosis.finding import Severity
from airflowaks.diagnosis.gathering import gather
from airflowaks.diagnosis.readers.scope import Scope, period
from airflowaks.diagnosis.rules.registry import RULES, evaluate
from airflowaks.engine.changes import Changes
from airflowaks.engine.checks import Check, Checks
from airflowaks.engine.polling import wait_until
from airflowaks.engine.results import Results
from airflowaks.engine.table import Table, Tabular
from airflowaks.errors import InvalidParameter

if TYPE_CHECKING:
    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.diagnosis.finding import Findings
    from airflowaks.session import Session


_HEALING_SECONDS = 600.0


@dataclass(frozen=True)
class Diagnosis(Tabular):
    """What was seen and what was found in it; shows itself as the table of findings."""

    facts: Snapshot
    findings: Findings
    scope: Scope

    def sources(self) -> Table:
        """Return a table of what was asked, when, how long that took, and what could not be read."""
        rows = [
            (name, one.at, f"{one.seconds:.1f}", one.problem or "read") for name, one in self.facts.readings.items()
        ]
        return Table(("asked", "at", "s", "result"), rows)

    def conclude(self, session: Session) -> Checks:
        """Make each finding that is critical a failed check of the session, so that its run fails when it is closed."""
        seconds = max(one.seconds for one in self.facts.readings.values())
        critical = [
            Check(name=one.id, passed=False, seen=one.cause, action=one.fix, seconds=seconds)
            for one in self.findings.of(Severity.CRITICAL)
        ]
        well = Check(name="nothing critical", passed=True, seen=self.findings.summary(), seconds=seconds)
        checks = Checks(tuple(critical or [well]))
        session.memoize(Results).checks.extend(checks)
        return checks

    def table(self, title: str = "") -> Table:
        """Return the table of findings."""
        return self.findings.table(title)


def diagnose(session: Session, since: str = "1h", namespace: str = "", component: str = "") -> Diagnosis:
    """Look at everything and return what was found; nothing is written, whatever the session's mode.

    `since` is a period such as `90m`, `2h` or `1d`: what was over before it counts no more. Without `namespace` it is
    the environment's, without `component` all of them.

    Raises:
        InvalidParameter: `since` is no period.

    """
    scope = Scope(period(since), namespace or session.environment.cluster.namespace, component)
    return _look(session, scope)


def _look(session: Session, scope: Scope) -> Diagnosis:
    facts = gather(session, scope)
    return Diagnosis(facts, evaluate(facts), scope)


def apply_fix(session: Session, diagnosis: Diagnosis, fix: str) -> Changes:
    """Have a finding put right by the step function that can; without a name nothing is done.

    It goes through `converge`, so that a plan shows what would change, and only an apply, which was confirmed when the
    run began, writes.

    Raises:
        InvalidParameter: nothing of that name was found, or it is to be put right by hand.

    """
    if not fix:
        return Changes(())
    found = {one.id: one for one in diagnosis.findings}
    if fix not in found:
        known = "it does not stand" if fix in RULES else "there is no such rule"
        raise InvalidParameter(f"{fix} cannot be fixed: {known}.", f"Found were: {', '.join(found) or 'none'}.")
    if (step := found[fix].remedy) is None:
        raise InvalidParameter(f"{fix} cannot be fixed from here: {found[fix].cause}", found[fix].fix)
    return step(session)


def wait_until_healthy(session: Session, diagnosis: Diagnosis, fix: str) -> Diagnosis | None:
    """Diagnose again after `fix` was applied, until nothing critical is left; return None if no fix was applied.

    It waits at most ten minutes, because pods take a while to become ready.
    """
    if not fix or not session.applies:
        return None
    return wait_until(
        lambda: _look(session, diagnosis.scope),
        lambda seen: not seen.findings.of(Severity.CRITICAL),
        _HEALING_SECONDS,
    )
