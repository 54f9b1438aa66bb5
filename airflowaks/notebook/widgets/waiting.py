"""The picker of what does not run: choose what has waited longer than usual, or type a name, and see what holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from airflowaks.notebook.widgets.button_state import busy

if TYPE_CHECKING:
    from airflowaks.engine.table import Table
    from airflowaks.notebook.widgets.incident import Incident


class WaitingView:
    """Shows why something does not run; its choices are those of the last diagnosis."""

    def __init__(self, incident: Incident, task: str, answer: Table) -> None:
        self._incident = incident
        self._task = widgets.Combobox(
            value=task,
            description="Task",
            placeholder="DAG, DAG/RUN or DAG/RUN/TASK; empty: all that waits",
            layout={"width": "48em"},
        )
        self._ask = widgets.Button(description="Why?", icon="search")
        self._line, self._answer = widgets.HTML(), widgets.HTML(answer.html())
        self._ask.on_click(lambda _: self._explain())
        self.widget = widgets.VBox([widgets.HBox([self._task, self._ask, self._line]), self._answer])
        self._list()
        incident.on_refresh(self.widget, self._list)

    def _list(self) -> None:
        waits = self._incident.diagnosis.facts.airflow.waiting.waits
        self._task.options = tuple(dict.fromkeys(wait.name for wait in waits))

    def _explain(self) -> None:
        with busy(self._ask, self._line, self._incident.run.session, "Asking Airflow …"):
            self._answer.value = self._incident.explained(self._task.value.strip()).html()
