"""An incident: its last diagnosis, the next one, and fixes. The dashboard's views show it."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis.diagnose import Diagnosis, apply_fix, diagnose, wait_until_healthy
from airflowaks.diagnosis.waiting.explain import explain
from airflowaks.engine.results import Display, Results
from airflowaks.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.diagnosis.facts.kubernetes import Pod
    from airflowaks.engine.changes import Changes
    from airflowaks.engine.table import Table
    from airflowaks.notebook.run import Run
    from airflowaks.session import Mode


class Incident:
    """The last diagnosis of an environment. Making it raises what `diagnose` raises; only `apply` writes."""

    def __init__(self, run: Run, since: str = "1h", namespace: str = "", component: str = "") -> None:
        self.run = run
        self.component = component
        self.recovery_seconds = 180.0
        """How long Airflow may take to recover from what a button has fixed."""
        self._diagnose = partial(diagnose, run.session, since, namespace, component)
        self._views: list[tuple[Any, Callable[[], None]]] = []
        self.diagnosis: Diagnosis = self._diagnose()

    def refresh(self) -> None:
        """Diagnose again, and have every view show it."""
        self._show(self._diagnose())

    def recover(self, fix: str) -> None:
        """Diagnose until Airflow has recovered from what a fix has mended, and have every view show the last diagnosis.

        What is recovering looks as if it hung, and would be offered a restart.
        """
        with closing(self._session("apply")) as session:
            self._show(wait_until_healthy(session, self.diagnosis, fix, self.recovery_seconds) or self.diagnosis)

    def _show(self, diagnosis: Diagnosis) -> None:
        self.diagnosis = diagnosis
        self._views = [(widget, show) for widget, show in self._views if widget.comm is not None]
        for _, show in self._views:
            show()

    def on_refresh(self, widget: Any, show: Callable[[], None]) -> None:
        """Have `show` called whenever there is a newer diagnosis, until `widget` is closed."""
        self._views.append((widget, show))

    def pods(self) -> dict[str, Pod]:
        """Return the pods of the last diagnosis: unhealthy ones first, then the newest first."""
        pods = self.diagnosis.facts.kubernetes.pods
        newest = sorted(pods.items(), key=lambda item: item[1].created, reverse=True)
        return dict(sorted(newest, key=lambda item: item[1].healthy))

    def explained(self, task: str) -> Table:
        """Return what holds the DAG, run or task that `task` names. Raises InvalidParameter."""
        with closing(self._session("plan")) as session:
            return explain(session, self.diagnosis.facts, task)

    def plan(self, fix: str) -> Changes:
        """Return what the fix of a finding would change. Raises InvalidParameter where it has no fix."""
        with closing(self._session("plan")) as session:
            return apply_fix(session, self.diagnosis, fix)

    def apply(self, fix: str, display: Display) -> Changes:
        """Apply the fix of a finding, whatever the run's mode: the operator has seen its plan and confirmed it."""
        with closing(self._session("apply")) as session:
            results = session.memoize(Results)
            results.display = display
            try:
                return apply_fix(session, self.diagnosis, fix)
            finally:
                self.run.add(results.changes)

    def _session(self, mode: Mode) -> Session:
        """Return a new session: the facts that the run's session has read may be outdated."""
        own = self.run.session
        return Session(own.environment, mode, own.connection, redactor=own.redactor)
