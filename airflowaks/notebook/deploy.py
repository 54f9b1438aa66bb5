"""A deployment: the steps' notebooks run headless, all at once, and each resource begins when it can.

papermill runs each notebook in a kernel of its own and writes a record of its own, so a deployment is the same as
running the notebooks one by one, but that they wait for what others make (`airflowaks.engine.waiting`). After a failure
the others begin nothing more: they finish what they are writing, and their waits end. A second deployment goes on where
the first stopped, because every step reads what exists.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.display import display

from airflowaks.engine.changes import Action, Change, Difference
from airflowaks.engine.checks import Check
from airflowaks.engine.graph import run_in_order
from airflowaks.engine.results import Results
from airflowaks.engine.table import Table, Tabular
from airflowaks.engine.times import duration, timestamp
from airflowaks.errors import AirflowAksError, DriftFound, StepFailed
from airflowaks.notebook.critical_path import bars as path_bars
from airflowaks.notebook.critical_path import critical_path
from airflowaks.notebook.estimate import estimate
from airflowaks.notebook.records import FOLDER, read_record
from airflowaks.notebook.refresher import Refresher
from airflowaks.notebook.timeline import Bar, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflowaks.notebook.critical_path import Link
    from airflowaks.notebook.execution import Execution
    from airflowaks.notebook.records import RunRecord
    from airflowaks.session import Session

NOTEBOOKS = (
    "01_cluster",
    "02_registry",
    "03_backend",
    "04_key_vault",
    "05_workload_identity",
    "06_volumes",
    "07_airflow",
)
"""The steps' notebooks."""
_OF_IMAGE = ("01_cluster", "02_registry", "03_backend", "04_key_vault", "07_airflow")
"""The notebooks with the parameter `image`."""
_OF_OPERATOR = ("03_backend",)
"""The notebooks with the parameter `operator_address`."""

_NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@dataclass
class Step:
    """One notebook's run: when it began and ended (seconds since the deployment began), and its record."""

    notebook: str
    record: Path
    began: float | None = None
    ended: float | None = None
    error: str = field(default="", repr=False)
    execution: Execution | None = field(default=None, repr=False)
    _read: RunRecord | None = field(default=None, repr=False)

    @property
    def state(self) -> str:
        """Return the state in words."""
        if self.began is None:
            return "not begun"
        if self.ended is None:
            return "running"
        kinds = {"": "done", DriftFound.__name__: "drifted", StepFailed.__name__: "ended"}
        return kinds.get(self.error.partition(":")[0], "FAILED")

    def read(self) -> RunRecord | None:
        """Return what the record says so far, or None where it says nothing yet."""
        if self._read is not None:
            return self._read
        over = self.ended is not None  # asked before reading: a record that is still written is not kept
        try:
            record = read_record(self.record)
        except AirflowAksError:
            return None
        self._read = record if over else None
        return record


class Deployment(Tabular):
    """The runs of all steps; shows itself as a table, and `timeline` as a picture."""

    def __init__(self, session: Session, folder: Path, image: str = "") -> None:
        self.session = session
        self.folder = folder
        self.image = image
        self.steps = {name: Step(name, folder / f"{name}.ipynb") for name in NOTEBOOKS}
        # What comes first is needed first; kernels that all start at once make each other late.
        self._starts = threading.Semaphore(os.cpu_count() or 1)
        self._started, self._begin = time.monotonic(), time.time()
        self._stopped: StepFailed | None = None
        # The rehearsal's durations are its own.
        self._estimate = None if session.environment.is_local or session.mode == "check" else estimate(session)

    @property
    def failed(self) -> list[Step]:
        """Return the steps that failed."""
        return [step for step in self.steps.values() if step.state == "FAILED"]

    def run(self) -> None:
        """Run the steps; keep what they changed and checked in the session."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with suppress(StepFailed):  # once everything has been shown, `raise_failure` raises it
            for _ in run_in_order(dict.fromkeys(NOTEBOOKS, ()), self._run, on_interrupt=self._stop):
                pass
        results = self.session.memoize(Results)
        for step in self.steps.values():
            if record := step.read():
                results.changes += map(_change, record.changes)
                results.checks += (Check(**check) for check in record.checks)

    def table(self, title: str = "") -> Table:
        """Return a row for each step: its state, seconds, and what its record says."""
        return Table(("step", "state", "s", "changes, checks, what runs"), [*self._rows()], title, note=self._summary())

    def timeline(self) -> Timeline:
        """Return the picture of what ran when."""
        now = self._clock()
        bars = [
            Bar(step.notebook, step.began, now if step.ended is None else step.ended, _succeeded(step))
            for step in self.steps.values()
            if step.began is not None
        ]
        chain = path_bars(self.critical_path(), self._begin)
        return Timeline(f"Deployment of {self.session.environment.name}", [*bars, *chain])

    def critical_path(self) -> list[Link]:
        """Return the chain of resources and checks that an apply took as long as, once all steps are done."""
        if not self.session.applies or any(step.state != "done" for step in self.steps.values()):
            return []
        return critical_path({name: record for name, step in self.steps.items() if (record := step.read())})

    def raise_failure(self) -> None:
        """Raise StepFailed for the first step that failed, with its own two lines."""
        for step in self.failed:
            raise _failure(step)

    def _run(self, name: str) -> None:
        from airflowaks.notebook.execution import Execution

        step = self.steps[name]
        with ExitStack() as starting:
            starting.enter_context(self._starts)
            if self._stopped is not None:
                return
            step.began = self._clock()
            notebook = os.path.relpath(_NOTEBOOKS / f"{name}.ipynb")  # papermill keeps it in the record
            step.record.unlink(missing_ok=True)
            step.execution = Execution(notebook, step.record, self._parameters(name), begun=starting.close)
            if self._stopped is not None:
                step.execution.end(self._stopped)
            step.error = step.execution.run()
        step.ended = self._clock()
        # In plan and check, steps do not depend on what other steps create.
        if self.session.applies and step.state == "FAILED":
            if self._stopped is None:
                message = f"Step {int(name[:2])} ({name}) failed, so this step ended before it was done."
                self._end(StepFailed(message, f"See {step.record}, then run 00_deploy again: it goes on from there."))
            raise _failure(step)

    def _parameters(self, name: str) -> dict[str, Any]:
        parameters: dict[str, Any] = {"env": self.session.environment.name, "mode": self.session.mode}
        if self.session.applies:
            parameters["wait"] = True
        if self.image and name in _OF_IMAGE:
            parameters["image"] = self.image
        if self.session.operator_address and name in _OF_OPERATOR:
            parameters["operator_address"] = self.session.operator_address
        return parameters

    def _end(self, reason: StepFailed) -> None:
        self._stopped = reason
        for step in self.steps.values():
            if step.execution is not None and step.ended is None:
                step.execution.end(reason)

    def _stop(self) -> None:
        self._stopped = StepFailed("The deployment was interrupted.", "Run 00_deploy again: it goes on from there.")
        for step in self.steps.values():
            if step.execution is not None and step.ended is None:
                step.execution.kill(self._stopped)

    def _clock(self) -> float:
        return time.monotonic() - self._started

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        for step in self.steps.values():
            end = self._clock() if step.ended is None else step.ended
            seconds = "" if step.began is None else f"{end - step.began:.0f}"
            record = step.read() if step.began is not None else None
            summary = f"{record.changes_summary()}; {record.checks_summary()}" if record else ""
            if step.execution is not None and step.ended is None:
                summary = "\n".join(filter(None, (summary, step.execution.activity)))
            yield step.notebook, step.state, seconds, summary

    def _summary(self) -> str:
        states = [step.state for step in self.steps.values()]
        counts = [
            f"{states.count(state)} {state}" for state in ("done", "running", "drifted", "FAILED", "ended", "not begun")
        ]
        summary = ", ".join(count for count in counts if not count.startswith("0 "))
        path = sum(link.seconds for link in self.critical_path())
        of_path = f", of which the critical path {duration(path)}" if path else ""
        return f"{summary} after {duration(self._clock())}{of_path}{self._foreseen()}. Records: {self.folder}"

    def _foreseen(self) -> str:
        """Return how long an apply takes, or what is left of one, where resources have to be created."""
        if self._estimate is None or not self._estimate.chain:
            return ""
        if not self.session.applies:
            return f"; an apply takes {self._estimate}"
        left = self._estimate.seconds - self._clock()
        running = any(step.state == "running" for step in self.steps.values())
        return f"; about {duration(left)} left of {self._estimate}" if running and left > 0 else ""


def deploy(session: Session, folder: str = "", image: str = "") -> Deployment:
    """Run all steps for the session's environment in its mode, and show their progress.

    The records go to `folder`, by default a new one in `runs`, named for the environment and the time (UTC). `image`
    replaces the environment's image in the steps that use it or ask for it. A step that fails does not raise here:
    `Deployment.raise_failure` does, once everything has been shown.
    """
    started = re.sub("[-:]", "", timestamp())
    path = Path(folder) if folder else _NOTEBOOKS.parent / FOLDER / f"{session.environment.name}-{started}"
    deployment = Deployment(session, path, image)
    handle = display(deployment.table(), display_id=True)  # type: ignore[no-untyped-call]  # IPython's lacks them
    try:
        with Refresher(lambda: handle.update(deployment.table())):
            deployment.run()
    finally:
        handle.update(deployment.table())
    return deployment


def _failure(step: Step) -> StepFailed:
    record = step.read()
    # Log lines of a pod may stand between message and action.
    failure, _, action = ((record and record.failure) or step.error).partition("\n→ ")
    reason = failure.partition(": ")[2] or failure or "it printed no error"
    action = f"{action or 'See its record.'} Then run this notebook again: it goes on from there."
    return StepFailed(f"{step.notebook} failed: {reason}", action)


def _succeeded(step: Step) -> bool | None:
    return {"done": True, "drifted": True, "FAILED": False, "ended": False}.get(step.state)


def _change(record: Mapping[str, Any]) -> Change:
    differences = tuple(Difference(**difference) for difference in record["differences"])
    return Change(**{**record, "action": Action(record["action"]), "differences": differences})
