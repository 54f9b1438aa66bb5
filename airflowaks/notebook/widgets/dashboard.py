"""The dashboard of an incident: the views that the cells of a notebook show.

In JupyterLab the views have buttons. Headless, and in every record, they are the library's tables and pictures.
ipywidgets is imported for JupyterLab alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis import kubectl
from airflowaks.diagnosis.diagnose import Diagnosis
from airflowaks.engine.table import Displayed, Table, Tabular
from airflowaks.notebook.history import history
from airflowaks.notebook.timeline import Timeline
from airflowaks.notebook.widgets.incident import Incident

if TYPE_CHECKING:
    from collections.abc import Callable

_LINES = 20


@dataclass(frozen=True)
class LiveView(Displayed):
    """A widget, and what it shows at first: frontends show the widget, records keep the latter."""

    widget: Any
    plain: Displayed

    def mimebundle(self) -> dict[str, Any]:
        """Return both."""
        return {**self.widget._repr_mimebundle_(), **self.plain.mimebundle()}


class Dashboard(Incident, Tabular):
    """An incident for the cells of a notebook to show; shows itself as the findings."""

    def history(self) -> Any:
        """Return the picture of what happened when."""
        return self._shown(lambda diagnosis: history(diagnosis.facts, diagnosis.findings), Timeline.svg)

    def waiting(self, task: str = "") -> Any:
        """Return what holds the DAG, run or task that `task` names, or all that waits; in JupyterLab with a picker."""
        plain = self.explained(task)
        if not self.run.attended:
            return plain
        from airflowaks.notebook.widgets.waiting import WaitingView

        return LiveView(WaitingView(self, task, plain).widget, plain)

    def sources(self) -> Any:
        """Return the table of what was asked, and what could not be read."""
        return self._shown(Diagnosis.sources, Table.html)

    def logs(self) -> Any:
        """Return a log, at first that of an unhealthy pod; in JupyterLab in a viewer for all pods."""
        name = next(iter(self.pods()), "")
        plain = kubectl.logs(self.run.session, "", self.diagnosis.scope.namespace, pod=name, lines=_LINES)
        if not self.run.attended:
            return plain
        from airflowaks.notebook.widgets.log_viewer import LogViewer

        return LiveView(LogViewer(self).widget, plain)

    def _shown(self, make: Callable[[Diagnosis], Any], to_html: Callable[[Any], str]) -> Any:
        plain = make(self.diagnosis)
        if not self.run.attended:
            return plain
        from ipywidgets import HTML

        widget = HTML(to_html(plain))
        self.on_refresh(widget, lambda: setattr(widget, "value", to_html(make(self.diagnosis))))
        return LiveView(widget, plain)

    def table(self, title: str = "") -> Table:
        """Return the table of findings."""
        return self.diagnosis.table(title)

    def mimebundle(self) -> dict[str, Any]:
        """Return the table of findings, in JupyterLab with buttons."""
        if not self.run.attended:
            return super().mimebundle()
        from airflowaks.notebook.widgets.findings import FindingsView

        return LiveView(FindingsView(self).widget, self.diagnosis).mimebundle()
