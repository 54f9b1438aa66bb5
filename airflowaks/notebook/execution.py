"""One notebook of a deployment, which papermill runs in a kernel of its own and which can be ended.

papermill runs in a thread of this program, so that kernels are this program's own children: ipykernel ends when its
parent does (`ipykernel.parentpoller`), and seven programs need not import papermill.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_output
from papermill import execute_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from airflowaks.errors import AirflowAksError

_ENGINE = "airflowaks"
_WAITS, _LOST_SECONDS = "waits for ", 5.0
_BEGUN_CELLS = 3  # parameters, papermill's parameters, and the run's begin, which imports the library
_START_SECONDS = 300
"""How long a kernel may take to start while all others do."""


class Execution:
    """Runs one notebook; `activity` is the progress that it showed last. Calls `begun` once the run has begun."""

    def __init__(
        self, notebook: str, record: Path, parameters: Mapping[str, Any], begun: Callable[[], None] = lambda: None
    ) -> None:
        self.activity = ""
        self._begun = begun
        self._arguments: dict[str, Any] = {
            "input_path": notebook,
            "output_path": str(record),
            "parameters": dict(parameters),
        }
        self.reason: AirflowAksError | None = None
        """Why it has to end, or None."""
        self._client: _Client | None = None
        self._lock = threading.Lock()
        self._runs_cell, self._ended_cells = False, 0
        self._interrupted: float | None = None

    def run(self) -> str:
        """Run the notebook to its end, and return nothing, or why it failed in one line."""
        try:
            # The context of this thread may hold the event loop of the kernel's main thread.
            Context().run(self._execute)
        except PapermillExecutionError as error:
            return f"{error.ename}: {error.evalue}"
        except Exception as raised:  # noqa: BLE001 - a kernel that died, a folder that cannot be written
            cause = self.reason or raised
            return f"{type(cause).__name__}: {cause}"
        return ""

    def _execute(self) -> None:
        with closing(ensure_event_loop()):
            execute_notebook(
                **self._arguments,
                engine_name=_ENGINE,
                execution=self,
                progress_bar=False,
                start_timeout=_START_SECONDS,
            )

    def end(self, reason: AirflowAksError) -> None:
        """Begin nothing more and end waits; what is being written is finished. The record then ends with `reason`."""
        self.reason = reason
        self._interrupt()

    def cell(self, *, runs: bool) -> None:
        """Note that the kernel has begun or ended a cell."""
        self._runs_cell = runs
        self._interrupt()
        self._ended_cells += not runs
        if self._ended_cells == _BEGUN_CELLS:
            self._begun()

    def _interrupt(self) -> None:
        """Interrupt the cell that runs, once: a kernel that starts would die of it, an idle one would not heed it."""
        with self._lock:
            if self.reason is None or not self._runs_cell or self._interrupted is not None:
                return
            self._interrupted = time.monotonic()
        self._signal(signal.SIGINT)

    def note(self, activity: str) -> None:
        """Keep the progress line. A kernel that still waits, seconds after its interrupt, has lost it."""
        self.activity = activity
        late = self._interrupted is not None and time.monotonic() > self._interrupted + _LOST_SECONDS
        if late and _WAITS in activity:
            self._interrupted = time.monotonic()
            self._signal(signal.SIGINT)

    def kill(self, reason: AirflowAksError) -> None:
        """End the kernel at once."""
        self.reason = reason
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._client is not None and self._client.km is not None and self._client.km.has_kernel:
            sending = self._client.km.provisioner.send_signal(number)
            # In a thread of its own, because an event loop runs in the thread that an interrupt comes to.
            with suppress(OSError), ThreadPoolExecutor(1) as pool:  # it has just ended
                pool.submit(asyncio.run, sending).result()


class _Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """papermill's client, which puts the reason for its end into the record."""

    def __init__(self, execution: Execution, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._execution = execution

    def execute_cell(self, cell: Any, cell_index: int, *arguments: Any, **options: Any) -> Any:
        reason = self._execution.reason
        if reason is not None and cell.cell_type == "code":
            content = _content(reason)
            cell.outputs = [new_output("error", **content)]  # type: ignore[no-untyped-call]  # nbformat's lacks them
            raise CellExecutionError.from_cell_and_msg(cell, content)
        return super().execute_cell(cell, cell_index, *arguments, **options)

    def process_message(self, msg: Any, *arguments: Any, **options: Any) -> Any:
        content, reason = msg["content"], self._execution.reason
        if msg["msg_type"] == "execute_input":  # from here on the kernel heeds an interrupt
            self._execution.cell(runs=True)
        elif content.get("execution_state") == "idle":
            self._execution.cell(runs=False)
        if reason is not None and content.get("ename") == KeyboardInterrupt.__name__:
            content.update(_content(reason))
        if msg["msg_type"] == "update_display_data":
            self._execution.note(content["data"].get("text/plain", ""))
        return super().process_message(msg, *arguments, **options)


class _Engine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """papermill's engine, with that client."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, execution: Execution, start_timeout: int, **_options: Any
    ) -> Any:
        client = _Client(execution, nb_man, kernel_name=kernel_name, startup_timeout=start_timeout, log=logger)
        execution._client = client  # noqa: SLF001
        # What a kernel prints itself, such as warnings at its start, is no output of the notebook.
        return client.execute(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _content(error: AirflowAksError) -> dict[str, Any]:
    return {"ename": type(error).__name__, "evalue": str(error), "traceback": error._render_traceback_()}


papermill_engines.register(_ENGINE, _Engine)
