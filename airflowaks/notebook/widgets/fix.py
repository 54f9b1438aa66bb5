"""A fix: its plan and, once the operator has typed the environment's name, its apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from airflowaks.notebook.progress import NotebookDisplay
from airflowaks.notebook.widgets.button_state import busy, coloured

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.engine.table import Table
    from airflowaks.notebook.widgets.incident import Incident


class FixView:
    """The plan of a fix, and a question; `done` is given what it changed, before the next diagnosis."""

    def __init__(self, incident: Incident, fix: str, done: Callable[[Table], None]) -> None:
        self._incident = incident
        self._fix = fix
        self._done = done
        self._environment = incident.run.session.environment.name
        self._changes, self._line = widgets.HTML(), widgets.HTML()
        self._answer = widgets.Text(placeholder=self._environment)
        self._apply = widgets.Button(description=f"Apply to {self._environment}", button_style="danger", disabled=True)
        question = widgets.Label(f"This writes. Type {self._environment} to apply it:")
        self._asked = widgets.HBox([question, self._answer, self._apply])
        self._asked.layout.display = "none"
        self._answer.observe(self._check, "value")
        self._apply.on_click(self._do)
        self.widget = widgets.VBox([self._changes, self._asked, self._line])

    def plan(self, button: Any) -> None:
        """Show what the fix would change, and ask where it would change anything."""
        with busy(button, self._line, self._incident.run.session, f"planning {self._fix} …"):
            changes = self._incident.plan(self._fix)
            title = (
                f"What fixing {self._fix} would change" if changes.pending else f"Fixing {self._fix} changes nothing"
            )
            self._changes.value = changes.table(title).html()
            self._asked.layout.display = "" if changes.pending else "none"

    def _check(self, _change: Any) -> None:
        self._apply.disabled = self._answer.value.strip() != self._environment

    def _do(self, _button: Any) -> None:
        if self._answer.value.strip() != self._environment:
            return
        # A second press that waits behind the first finds no answer.
        self._answer.value = ""
        with busy(self._answer, self._line, self._incident.run.session, f"fixing {self._fix} …"):
            changes = self._incident.apply(self._fix, NotebookDisplay(self._progress))
            self._done(changes.table(f"What fixing {self._fix} changed"))
            minutes = self._incident.recovery_seconds / 60
            self._line.value = coloured(f"diagnosing until Airflow has recovered, at most {minutes:.0f} min …")
            self._incident.recover(self._fix)

    def _progress(self, first: Table) -> Callable[[Table], None]:
        def show(line: Table) -> None:
            self._line.value = line.html()

        show(first)
        return show
