"""Diagnosis: collect the facts, find the causes, apply a fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflowaks.diagnosis.collector import collect
from airflowaks.diagnosis.finding import Severity
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


_RECOVERY_SECONDS = 600.0
"""How long a fix may take until nothing critical is left of it."""


@dataclass(frozen=True)
class Diagnosis(Tabular):
    """Facts and findings; displays as the table of findings."""

    facts: Snapshot
    findings: Findings
    scope: Scope

    def sources(self) -> Table:
        """Return a table of the readings: part, time, duration and result."""
        rows = [
            (name, reading.at, f"{reading.seconds:.1f}", reading.problem or "read")
            for name, reading in self.facts.readings.items()
        ]
        return Table(("source", "at", "s", "result"), rows)

    def conclude(self, session: Session) -> Checks:
        """Add a failed check to the session for each critical finding, so that its run fails when it is closed."""
        seconds = max(reading.seconds for reading in self.facts.readings.values())
        critical = [
            Check(name=finding.id, passed=False, seen=finding.cause, action=finding.fix, seconds=seconds)
            for finding in self.findings.of(Severity.CRITICAL)
        ]
        passed = Check(name="nothing critical", passed=True, seen=self.findings.summary(), seconds=seconds)
        checks = Checks(critical or [passed])
        session.memoize(Results).checks.extend(checks)
        return checks

    def table(self, title: str = "") -> Table:
        """Return the table of findings."""
        return self.findings.table(title)


def diagnose(session: Session, since: str = "1h", namespace: str = "", component: str = "") -> Diagnosis:
    """Collect all facts and return the findings. Writes nothing in any mode but the Job to read the backend through.

    `since` is a period such as `90m`, `2h` or `1d`; events that ended before it do not count. `namespace` defaults to
    the environment's, `component` to all components.

    Raises:
        InvalidParameter: `since` is not a period.

    """
    scope = Scope(period(since), namespace or session.environment.cluster.namespace, component)
    return _diagnose(session, scope)


def _diagnose(session: Session, scope: Scope) -> Diagnosis:
    facts = collect(session, scope)
    return Diagnosis(facts, evaluate(facts), scope)


def apply_fix(session: Session, diagnosis: Diagnosis, fix: str) -> Changes:
    """Apply the fix of the findings with the ID `fix` through their step functions; do nothing if `fix` is empty.

    The step function uses `converge`: a plan shows the changes, and only a confirmed apply writes.

    Raises:
        InvalidParameter: there is no such finding, or its fix is manual.

    """
    if not fix:
        return Changes()
    findings = [fixable for finding in diagnosis.findings for fixable in (*finding.changes, finding)]
    chosen = [finding for finding in findings if finding.id == fix]
    if not chosen:
        reason = "the diagnosis did not find it" if fix in RULES else "there is no such rule"
        names = ", ".join(dict.fromkeys(finding.id for finding in findings))
        action = f"Set fix to one of: {names}." if names else "Leave fix empty: there are no findings."
        raise InvalidParameter(f"{fix} cannot be fixed: {reason}.", action)
    steps = dict.fromkeys(finding.remedy for finding in chosen if finding.remedy is not None)
    if not steps:
        raise InvalidParameter(f"{fix} has no automatic fix: {chosen[0].cause}", chosen[0].fix)
    return sum((step(session) for step in steps), start=Changes())


def wait_until_healthy(
    session: Session, diagnosis: Diagnosis, fix: str, seconds: float = _RECOVERY_SECONDS
) -> Diagnosis | None:
    """Diagnose again after `fix` was applied, until Airflow has recovered; return None if no fix was applied.

    Pods take a while to become ready, and components that were blocked to send a heartbeat.
    """
    if not fix or not session.applies:
        return None
    before = diagnosis.findings
    return wait_until(
        lambda: _diagnose(session, diagnosis.scope), lambda newer: newer.findings.recovered(before, fix), seconds
    )
