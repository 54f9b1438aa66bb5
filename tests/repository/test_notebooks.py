"""The notebooks of the repository: their form. That they run is told with the Airflow that they deploy."""

from __future__ import annotations

import ast
from collections import Counter
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.support.notebooks import NOTEBOOKS

if TYPE_CHECKING:
    from pathlib import Path

MOST_LINES = 12

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@each_notebook
def test_its_parameters_are_annotated_and_all_given_to_start(path: Path) -> None:
    cells = code_cells(path)
    (parameters,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", ())]
    declared = {one.target.id: one for one in ast.parse(parameters.source).body}  # type: ignore[attr-defined]
    assert all(isinstance(one, ast.AnnAssign) for one in declared.values())
    assert ast.literal_eval(declared["env"].value) == "local"
    calls = [node for cell in cells for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    (start,) = [call for call in calls if getattr(call.func, "id", "") == "start"]
    assert ast.literal_eval(start.args[0]) == path.stem
    assert [keyword.arg for keyword in start.keywords] == list(declared)
    assert cells[-1].source == "run.close()"


@each_notebook
def test_its_cells_are_short_calls_of_the_library_with_prose_between(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(path):
        assert len([line for line in cell.source.splitlines() if line]) <= MOST_LINES
        definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        assert not any(isinstance(node, definitions) for node in ast.walk(ast.parse(cell.source)))
    kinds = "".join(cell.cell_type[0] for cell in notebook.cells)
    assert kinds.startswith("m")
    assert "ccc" not in kinds


@each_notebook
def test_it_is_committed_without_outputs_other_than_those_that_nbval_compares(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in path.read_text(encoding="utf-8").replace("`papermill ", "")
    for cell in code_cells(path):
        compared = "nbval-check-output" in cell.metadata.get("tags", ())
        assert bool(cell.outputs) is compared
        assert (cell.execution_count is not None) is compared


@each_notebook
def test_no_heading_and_no_code_cell_stands_twice(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = Counter(line.strip() for line in prose.splitlines() if line.startswith("#"))
    code = Counter(cell.source for cell in cells if cell.cell_type == "code")
    assert [text for text, times in (headings + code).items() if times > 1] == []
