"""Findings with buttons: their evidence, what follows from them, and their fixes."""

from __future__ import annotations

import html
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from airflowaks.diagnosis.finding import Severity
from airflowaks.notebook.widgets.button_state import AMBER, GREY, LINK, RED, busy, coloured
from airflowaks.notebook.widgets.fix import FixView

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.diagnosis.finding import Finding
    from airflowaks.engine.table import Table
    from airflowaks.notebook.widgets.incident import Incident

_COLOURS = {Severity.CRITICAL: RED, Severity.WARNING: AMBER, Severity.NOTE: GREY}
_HIDDEN, _SHOWN = "none", ""


class FindingsView:
    """The findings of an incident, the worst open, below the time of the diagnosis and a button to diagnose again."""

    def __init__(self, incident: Incident) -> None:
        self._incident = incident
        self._button = widgets.Button(description="Refresh", icon="refresh")
        self._summary, self._line, self._fixed = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._findings = widgets.VBox()
        head = widgets.HBox([self._button, self._summary, self._line])
        self.widget = widgets.VBox([head, self._fixed, self._findings])
        self._button.on_click(self._refresh)
        incident.on_refresh(self.widget, self.show)
        self.show()

    def show(self) -> None:
        """Show the last diagnosis."""
        diagnosis, before = self._incident.diagnosis, self._findings.children
        at = max(reading.at for reading in diagnosis.facts.readings.values())
        self._summary.value = f"<b>{html.escape(diagnosis.findings.summary())}</b> {coloured(f'Seen at {at}.')}"
        self._findings.children = [
            FindingView(self._incident, finding, self._done, opened=not index).widget
            for index, finding in enumerate(diagnosis.findings)
        ]
        for widget in before:
            close(widget)

    def _done(self, changes: Table) -> None:
        self._fixed.value = changes.html()

    def _refresh(self, _button: Any) -> None:
        with busy(self._button, self._line, self._incident.run.session, "diagnosing …"):
            self._incident.refresh()


class FindingView:
    """One finding: its cause and what to do, with buttons for its evidence and, where there is one, for its fix."""

    def __init__(self, incident: Incident, finding: Finding, done: Callable[[Table], None], *, opened: bool) -> None:
        self._incident = incident
        self._done = done
        self._evidence = widgets.HTML(_evidence(finding))
        self._show = widgets.ToggleButton(value=opened, description="Evidence", icon="search")
        self._fixing = widgets.VBox()
        buttons = [self._show]
        for fixable in finding.fixable():
            tooltip = f"shows what fixing {fixable.id} would change, and asks"
            description = "Fix …" if fixable is finding else "Undo the change …"
            fix = widgets.Button(description=description, icon="wrench", tooltip=tooltip, layout={"width": "auto"})
            fix.on_click(partial(self._fix, fixable.id))
            buttons.append(fix)
        self._show.observe(self._toggle, "value")
        self._toggle()
        parts = [widgets.HTML(_headline(finding)), widgets.HBox(buttons), self._fixing, self._evidence]
        self.widget = widgets.VBox(parts)

    def _toggle(self, _change: Any = None) -> None:
        self._evidence.layout.display = _SHOWN if self._show.value else _HIDDEN

    def _fix(self, name: str, button: Any) -> None:
        for widget in self._fixing.children:
            close(widget)
        view = FixView(self._incident, name, self._done)
        self._fixing.children = [view.widget]
        view.plan(button)


def close(widget: Any) -> None:
    """Close a widget and all widgets in it, so that kernel and frontend forget them."""
    for child in getattr(widget, "children", ()):
        close(child)
    widget.close()


def _headline(finding: Finding) -> str:
    colour = _COLOURS[finding.severity]
    badge = f"<span style='background:{colour};color:#fff;padding:1px 6px;border-radius:3px'>{finding.severity}</span>"
    link = (
        f" <a href='{html.escape(finding.link)}' target='_blank' style='color:{LINK}'>more</a>" if finding.link else ""
    )
    return f"{badge} <b>{html.escape(finding.cause)}</b> {coloured(finding.id)}<br>→ {html.escape(finding.fix)}{link}"


def _evidence(finding: Finding) -> str:
    reasons = [line for change in finding.changes for line in (f"perhaps because: {change.cause}", *change.evidence)]
    lines = "\n".join((*finding.evidence, *reasons))
    quoted = f"<pre style='white-space:pre-wrap;margin:0 0 0 1em'>{html.escape(lines)}</pre>"
    follows = [
        f"<li>{html.escape(effect.cause)} {coloured(f'{effect.id}, {times} times' if times > 1 else effect.id)}</li>"
        for effect, times in finding.counted_consequences()
    ]
    return quoted + (f"From this follows:<ul style='margin:0'>{''.join(follows)}</ul>" if follows else "")
