"""Small notebooks, and papermill as people start it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nbformat
from papermill import execute_notebook
from papermill.exceptions import PapermillExecutionError

from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
PARAMETERS = 'env: str = "local"\nmode: str = "apply"\nforce: bool = False\n'
START = 'from airflowaks.notebook.run import start\nrun = start("small", env=env, mode=mode, force=force)\nrun'
CONVERGE = """
from airflowaks.engine.converge import converge
from files import TextFile
first = TextFile(run.session, "first.txt", "one")
second = TextFile(run.session, "second.txt", "two" if not force else b"not text", first)
converge(run.session, first, second, TextFile(run.session, "third.txt", "three", second))
"""
CLOSE = "run.close()"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@dataclass(frozen=True)
class Executed:
    """The record that a run left behind."""

    path: Path

    @property
    def outputs(self) -> list[Any]:
        notebook = nbformat.read(self.path, as_version=4)
        return [output for cell in notebook.cells for output in cell.get("outputs", ())]

    @property
    def errors(self) -> list[Any]:
        return [output for output in self.outputs if output.output_type == "error"]

    def shown(self, mime: str) -> list[Any]:
        return [output.data[mime] for output in self.outputs if mime in output.get("data", ())]


def execute(notebook: Path, record: Path, **parameters: Any) -> Executed:
    """Execute `notebook` in its own folder, as papermill does, whether it fails or not."""
    with suppress(PapermillExecutionError):
        execute_notebook(notebook, record, parameters, cwd=notebook.parent, progress_bar=False)
    return Executed(record)


def papermill(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run papermill's own command line, which takes seconds longer."""
    command = [sys.executable, "-m", "papermill", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd)


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook whose first cell is tagged `parameters`."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    notebook.cells[0].metadata.tags = ["parameters"]
    nbformat.write(notebook, path)
    return path
