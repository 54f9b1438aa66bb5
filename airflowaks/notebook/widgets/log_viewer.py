"""The log viewer: any container of any pod, before or after its last restart, filtered and followed."""

from __future__ import annotations

import html
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets as widgets

from airflowaks.errors import KubernetesError
from airflowaks.kube.client import Kube, Reference, connect
from airflowaks.kube.kubelet import read_log
from airflowaks.kube.tail import Tail
from airflowaks.notebook.refresher import Refresher
from airflowaks.notebook.widgets.button_state import RED, busy, coloured
from airflowaks.notebook.widgets.findings import close

if TYPE_CHECKING:
    from airflowaks.notebook.widgets.incident import Incident

_LINES, _MOST_LINES = 200, 2000
# A kernel is not told that its page was closed.
_LONGEST_SECONDS = 900.0
_STOP_SECONDS = 2.0
_LOG = (
    "<div style='max-height:28em;overflow:auto;display:flex;flex-direction:column-reverse'>"
    "<pre style='white-space:pre-wrap;margin:0;font-size:12px;line-height:1.35'>{}</pre></div>"
)


class LogViewer:
    """Shows the log of what is chosen; its pods are those of the last diagnosis, unhealthy ones first.

    One viewer is open at a time: a cell that runs again makes another, and the first would follow its log unseen.
    """

    _open: ClassVar[LogViewer | None] = None

    def __init__(self, incident: Incident) -> None:
        if LogViewer._open is not None:
            LogViewer._open.close()
        LogViewer._open = self
        self._incident = incident
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._refresher: Refresher | None = None
        self._tail: Tail | None = None
        self._pod = widgets.Dropdown(description="Pod", layout={"width": "32em"})
        self._container = widgets.Dropdown(description="Container")
        self._previous = widgets.Checkbox(description="before its last restart", indent=False)
        self._filter = widgets.Text(description="Filter", placeholder="lines that contain this")
        self._fetch = widgets.Button(description="Fetch", icon="download")
        self._follow = widgets.ToggleButton(description="Follow", icon="play")
        self._line, self._log = widgets.HTML(), widgets.HTML()
        chosen = widgets.HBox([self._pod, self._container, self._previous])
        asked = widgets.HBox([self._filter, self._fetch, self._follow, self._line])
        self.widget = widgets.VBox([chosen, asked, self._log])
        self._list()
        self._name()
        incident.on_refresh(self.widget, self._list)
        self._pod.observe(self._name, "value")
        for widget in (self._pod, self._container, self._previous):
            widget.observe(self._choose, "value")
        self._filter.observe(self._show, "value")
        self._fetch.on_click(self._read)
        self._follow.observe(self._toggle, "value")

    def close(self) -> None:
        """Stop following, and close the widgets."""
        self._stop()
        close(self.widget)

    # What there is to choose

    def _list(self) -> None:
        if self._tail is not None:
            return  # what is followed stays chosen
        pods, chosen = self._incident.pods(), self._pod.value
        self._pod.options = [(name if pod.healthy else f"{name} (not ready)", name) for name, pod in pods.items()]
        self._pod.value = chosen if chosen in pods else next(iter(pods), None)
        self._fetch.disabled = self._follow.disabled = not pods

    def _name(self, _change: Any = None) -> None:
        pod = self._incident.pods().get(self._pod.value)
        containers = pod.containers if pod else {}
        self._container.options = list(containers)
        unready = [name for name, container in containers.items() if not container.ready]
        # Init containers stand before the others.
        self._container.value = next(iter([*unready, *reversed(list(containers))]), None)

    def _choose(self, _change: Any) -> None:
        if self._tail is not None:
            self._stop()

    # Reading

    @property
    def _reference(self) -> Reference:
        return Reference("v1", "Pod", self._pod.value, self._incident.diagnosis.scope.namespace)

    @property
    def _kube(self) -> Kube:
        return self._incident.run.session.memoize(connect)

    def _read(self, _button: Any) -> None:
        self._stop()
        session = self._incident.run.session
        with busy(self._fetch, self._line, session, f"reading {self._pod.value} …"):
            previous = self._previous.value
            text = read_log(self._kube, self._reference, self._container.value, lines=_LINES, previous=previous)
            self._lines.clear()
            self._lines.extend(session.redactor.redact(text).splitlines())
            self._show()

    def _toggle(self, _change: Any) -> None:
        if not self._follow.value:
            self._stop()
            return
        self._previous.value = False  # that log does not grow
        self._lines.clear()
        with busy(self._follow, self._line, self._incident.run.session, "beginning …"):
            self._tail = tail = Tail(self._kube, self._reference, self._container.value, _LINES)
            self._grow(tail)
            self._refresher = Refresher(lambda: self._grow(tail), seconds=_LONGEST_SECONDS, expired=self._stop)

    def _grow(self, tail: Tail) -> None:
        try:
            lines, state = tail.read(), coloured("following")
        except KubernetesError as error:
            # The container may not have started yet, or again: show that, and ask again.
            lines, state = [], coloured(str(error), RED)
        if self._tail is tail:
            self._lines.extend(lines)
            self._show()
            self._line.value = state

    def _stop(self) -> None:
        refresher, self._refresher, self._tail = self._refresher, None, None
        if refresher is not None:
            refresher.stop(_STOP_SECONDS)
        self._follow.value, self._line.value = False, ""

    def _show(self, _change: Any = None) -> None:
        wanted = self._filter.value.lower()
        lines = [line for line in self._lines if wanted in line.lower()]
        count = f"{len(lines)} of {len(self._lines)} lines" if wanted else f"{len(self._lines)} lines"
        self._log.value = coloured(count) + _LOG.format(html.escape("\n".join(lines)))
