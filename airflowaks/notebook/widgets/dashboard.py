"""The board of an incident: one diagnosis, whatever shows it, and looking again.

Where somebody sits at the notebook its views have buttons; headless, and in the records of both, they are the tables
and pictures that the library makes anyway. ipywidgets is imported for the former alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis import kubectl
from airflowaks.diagnosis.diagnose import Diagnosis, apply_fix, diagnose
from airflowaks.engine.table import Table
from airflowaks.notebook.history import history
from airflowaks.notebook.timeline import Timeline
from airflowaks.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.diagnosis.facts.kubernetes import Pod
    from airflowaks.engine.changes import Changes
    from airflowaks.notebook.run import Run
    from airflowaks.session import Display, Mode

_LINES = 20


@dataclass(frozen=True)
class Live:
    """A widget, and what it showed at first: frontends show the one, records keep the other."""

    widget: Any
    plain: Any

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        del include, exclude
        return {**self.widget._repr_mimebundle_(), **self.plain._repr_mimebundle_()}


class Dashboard:
    """What was found last, for the cells of a notebook to show; shows itself as the findings.

    Making it looks at everything, as `diagnose` does, and raises what that raises. Only `apply` writes.
    """

    def __init__(self, run: Run, since: str = "1h", namespace: str = "", component: str = "") -> None:
        self.run = run
        self.component = component
        self._look = partial(diagnose, run.session, since, namespace, component)
        self._views: list[tuple[Any, Callable[[], None]]] = []
        self.diagnosis: Diagnosis = self._look()

    def look(self) -> None:
        """Look at everything again, and have every view show it."""
        self.diagnosis = self._look()
        self._views = [(widget, show) for widget, show in self._views if widget.comm is not None]
        for _, show in self._views:
            show()

    def on_look(self, widget: Any, show: Callable[[], None]) -> None:
        """Have `show` called whenever there is a newer diagnosis, until `widget` is closed."""
        self._views.append((widget, show))

    # Views

    def history(self) -> Any:
        """Return the picture of what happened when."""
        return self._shown(lambda diagnosis: history(diagnosis.facts), Timeline.svg)

    def sources(self) -> Any:
        """Return the table of what was asked, and what could not be read."""
        return self._shown(Diagnosis.sources, Table.html)

    def logs(self) -> Any:
        """Return a log, at first that of a pod that is ill; with somebody there, in a viewer for all of them."""
        name = next(iter(self.pods()), "")
        plain = kubectl.logs(self.run.session, "", self.diagnosis.scope.namespace, pod=name, lines=_LINES)
        if not self.run.attended:
            return plain
        from airflowaks.notebook.widgets.log_viewer import LogViewer

        return Live(LogViewer(self).widget, plain)

    def pods(self) -> dict[str, Pod]:
        """Return the pods that were seen, those that are ill first, and of either the newest first."""
        known = self.diagnosis.facts.kubernetes.pods
        newest = sorted(known.items(), key=lambda item: item[1].created, reverse=True)
        return dict(sorted(newest, key=lambda item: item[1].healthy))

    def _shown(self, make: Callable[[Diagnosis], Any], to_html: Callable[[Any], str]) -> Any:
        plain = make(self.diagnosis)
        if not self.run.attended:
            return plain
        from ipywidgets import HTML

        widget = HTML(to_html(plain))
        self.on_look(widget, lambda: setattr(widget, "value", to_html(make(self.diagnosis))))
        return Live(widget, plain)

    def __str__(self) -> str:
        return str(self.diagnosis)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        if not self.run.attended:
            return self.diagnosis._repr_mimebundle_(include, exclude)
        from airflowaks.notebook.widgets.findings import FindingsView

        return Live(FindingsView(self).widget, self.diagnosis)._repr_mimebundle_()

    # Fixes

    def plan(self, fix: str) -> Changes:
        """Return what the fix of a finding would change. Raises InvalidParameter where it has none."""
        return apply_fix(self._session("plan"), self.diagnosis, fix)

    def apply(self, fix: str, progress: Display) -> Changes:
        """Have a finding put right, whatever the run's mode: for whoever has seen the plan and confirmed it."""
        session = self._session("apply")
        session.progress = progress
        try:
            return apply_fix(session, self.diagnosis, fix)
        finally:
            self.run.session.changes.extend(session.changes)

    def _session(self, mode: Mode) -> Session:
        """Return a session that has read nothing yet: what the run's own has read may have changed since."""
        known = self.run.session
        session = Session(known.environment, mode, known.connection)
        session.redactor = known.redactor
        return session
