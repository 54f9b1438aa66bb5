"""A deployment: the steps' notebooks run headless in the order of their dependencies, side by side where these allow.

papermill runs each notebook in a process of its own and writes a record of its own, so a deployment is the same as
running the notebooks one by one. After a failure no more notebooks begin; those that run go on to their end. A second
deployment goes on where the first stopped, because every step reads what exists.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.display import display

from airflowaks.engine.changes import Action, Change, Difference
from airflowaks.engine.checks import Check
from airflowaks.engine.graph import run_in_order
from airflowaks.engine.polling import wait_until
from airflowaks.engine.results import Results
from airflowaks.engine.table import Table, Tabular
from airflowaks.engine.times import timestamp
from airflowaks.errors import AirflowAksError, DriftFound, InvalidParameter, StepFailed
from airflowaks.notebook.records import FOLDER, read_record
from airflowaks.notebook.refresher import Refresher
from airflowaks.notebook.timeline import Bar, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflowaks.notebook.records import RunRecord
    from airflowaks.session import Session

_WAITS_FOR = {"03_backend": ("registry_record", "02_registry")}
"""Notebooks that begin before another one has ended, and wait for it in the middle: the parameter for its record."""

DEPENDENCIES: Mapping[str, tuple[str, ...]] = {
    "01_cluster": (),
    "02_registry": ("01_cluster",),
    "03_backend": ("01_cluster",),
    "04_key_vault": ("01_cluster", "03_backend"),
    "05_workload_identity": ("01_cluster", "02_registry", "04_key_vault"),
    "06_volumes": ("01_cluster", "02_registry"),
    "07_airflow": ("05_workload_identity", "06_volumes"),
}
"""Each step's notebook, and the notebooks that it depends on."""
_OF_IMAGE = ("01_cluster", "02_registry", "07_airflow")
"""The notebooks with the parameter `image`."""
_OF_OPERATOR = ("03_backend",)
"""The notebooks with the parameter `operator_address`."""

_NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
_STOP_SECONDS = 10.0
_STEP_SECONDS = 1800.0
_PAUSE_SECONDS = 1.0


@dataclass
class Step:
    """One notebook's run: when it began and ended (seconds since the deployment began), and its record."""

    notebook: str
    record: Path
    began: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    stderr: str = field(default="", repr=False)
    _read: RunRecord | None = field(default=None, repr=False)

    @property
    def state(self) -> str:
        """Return the state in words."""
        if self.began is None:
            return "not begun"
        if self.ended is None:
            return "running"
        if self.exit_code == 0:
            return "done"
        record = self.read()
        return "drifted" if record is not None and record.failure.startswith(DriftFound.__name__) else "FAILED"

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
        self.steps = {name: Step(name, folder / f"{name}.ipynb") for name in DEPENDENCIES}
        self._started = time.monotonic()
        self._programs: dict[str, subprocess.Popen[str]] = {}
        self._interrupted = False

    @property
    def failed(self) -> list[Step]:
        """Return the steps that failed."""
        return [step for step in self.steps.values() if step.state == "FAILED"]

    def run(self) -> None:
        """Run the steps; keep what they changed and checked in the session."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with suppress(StepFailed):  # once everything has been shown, `raise_failure` raises it
            for _ in run_in_order(DEPENDENCIES, self._run, on_interrupt=self._stop):
                pass
        results = self.session.memoize(Results)
        for step in self.steps.values():
            if record := step.read():
                results.changes += map(_change, record.changes)
                results.checks += (Check(**check) for check in record.checks)

    def table(self, title: str = "") -> Table:
        """Return a row for each step: its state, seconds, and what its record says."""
        return Table(("step", "state", "s", "changes, checks"), [*self._rows()], title, note=self._summary())

    def timeline(self) -> Timeline:
        """Return the picture of what ran when."""
        now = self._clock()
        bars = [
            Bar(step.notebook, step.began, now if step.ended is None else step.ended, _succeeded(step))
            for step in self.steps.values()
            if step.began is not None
        ]
        return Timeline(f"Deployment of {self.session.environment.name}", bars)

    def raise_failure(self) -> None:
        """Raise StepFailed for the first step that failed, with its own two lines."""
        for step in self.failed:
            raise _failure(step)

    def _run(self, name: str) -> None:
        step = self.steps[name]
        if self._interrupted:
            return
        step.began = self._clock()
        environment, mode = self.session.environment.name, self.session.mode
        notebook = os.path.relpath(_NOTEBOOKS / f"{step.notebook}.ipynb")  # papermill keeps it in the record
        parameters = ["-p", "env", environment, "-p", "mode", mode]
        if self.image and step.notebook in _OF_IMAGE:
            parameters += ["-r", "image", self.image]
        if self.session.operator_address and step.notebook in _OF_OPERATOR:
            parameters += ["-r", "operator_address", self.session.operator_address]
        if self.session.applies and step.notebook in _WAITS_FOR:
            parameter, awaited = _WAITS_FOR[step.notebook]
            parameters += ["-r", parameter, str(self.steps[awaited].record)]
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", notebook, str(step.record), *parameters]
        step.record.unlink(missing_ok=True)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as program:
            self._programs[step.notebook] = program
            _, stderr = program.communicate()
        step.stderr = stderr.strip().rpartition("\n")[2]
        step.exit_code, step.ended = program.returncode, self._clock()
        # In plan and check, steps do not depend on what earlier steps created.
        if self.session.applies and step.state == "FAILED":
            raise _failure(step)

    def _stop(self) -> None:
        self._interrupted = True
        for program in self._programs.values():
            program.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for program in self._programs.values():
            try:
                program.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                program.kill()

    def _clock(self) -> float:
        return time.monotonic() - self._started

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        for step in self.steps.values():
            end = self._clock() if step.ended is None else step.ended
            seconds = "" if step.began is None else f"{end - step.began:.0f}"
            record = step.read() if step.began is not None else None
            summary = f"{record.changes_summary()}; {record.checks_summary()}" if record else ""
            yield step.notebook, step.state, seconds, summary

    def _summary(self) -> str:
        states = [step.state for step in self.steps.values()]
        counts = [f"{states.count(state)} {state}" for state in ("done", "running", "drifted", "FAILED", "not begun")]
        summary = ", ".join(count for count in counts if not count.startswith("0 "))
        return f"{summary} after {self._clock():.0f} s. Records: {self.folder}"


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


def await_step(record: str) -> None:
    """Wait for the end of the notebook that writes `record` at this time, at most for half an hour.

    Without a record, return. Raises StepFailed if that notebook failed.
    """
    if not record:
        return

    def look() -> RunRecord | None:
        with suppress(InvalidParameter):  # it has not begun yet
            return read_record(Path(record))
        return None

    def is_over(seen: RunRecord | None) -> bool:
        return seen is not None and bool(seen.ended or seen.failure)

    seen = wait_until(look, is_over, _STEP_SECONDS, longest_pause=_PAUSE_SECONDS)
    if seen is None or seen.failure or not seen.ended:
        message = (
            f"{Path(record).stem} {'failed' if seen and seen.failure else 'has not ended'}, and this step needs it."
        )
        raise StepFailed(message, f"See {record}, and run both steps again.")


def _failure(step: Step) -> StepFailed:
    record = step.read()
    # Log lines of a pod may stand between message and action.
    failure, _, action = (record.failure if record else step.stderr).partition("\n→ ")
    reason = failure.partition(": ")[2] or failure or "it printed no error"
    action = f"{action or 'See its record.'} Then run this notebook again: it goes on from there."
    return StepFailed(f"{step.notebook} failed: {reason}", action)


def _succeeded(step: Step) -> bool | None:
    return {"done": True, "drifted": True, "FAILED": False}.get(step.state)


def _change(record: Mapping[str, Any]) -> Change:
    differences = tuple(Difference(**difference) for difference in record["differences"])
    return Change(**{**record, "action": Action(record["action"]), "differences": differences})
