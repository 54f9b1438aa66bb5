"""Run records: listed, shown and compared, beside files that are none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import nbformat
import pytest
from click.testing import CliRunner

from airflowaks.cli import airflowaks
from airflowaks.engine.changes import CHANGES_MIME
from airflowaks.errors import InvalidParameter
from airflowaks.notebook.provenance import RUN_MIME
from airflowaks.notebook.records import compare, list_runs, read_record

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

pytestmark = pytest.mark.broad


def test_runs_are_listed_with_where_they_come_from_and_how_they_ended(records: Path) -> None:
    table = list_runs(records)
    found = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(found)[-1] == "failed.ipynb", "the newest comes first"
    assert set(found) == {"applied.ipynb", "checked.ipynb", "failed.ipynb"}
    applied, checked, failed = (found[f"{name}.ipynb"] for name in ("applied", "checked", "failed"))
    assert applied["run"] == "small\napply local"
    assert applied["operator, commit"] == "rehearsal-operator\nno git"
    assert (applied["changes, checks"], applied["outcome"]) == ("2 changed, 1 up to date\nno checks", "done")
    assert (checked["run"], checked["changes, checks"]) == ("small\ncheck local", "3 up to date\nno checks")
    assert (failed["changes, checks"], failed["outcome"]) == ("1 changed\nno checks", "failed: Unexpected")


def test_one_bad_file_hides_no_other(records: Path, tmp_path: Path) -> None:
    shutil.copy(records / "applied.ipynb", tmp_path)
    (tmp_path / "not_json.ipynb").write_text("{")
    (tmp_path / "not_text.ipynb").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.ipynb").write_text("")
    (tmp_path / "list.ipynb").write_text("[]")
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    shutil.copy(records / "applied.ipynb", tmp_path / ".ipynb_checkpoints")
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "foreign.ipynb")
    half = nbformat.v4.new_output("display_data", {RUN_MIME: {"notebook": "from another version"}})
    cells = [nbformat.v4.new_code_cell("run", outputs=[half])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "half.ipynb")
    table = list_runs(tmp_path)
    assert [row[0] for row in table.rows] == ["applied.ipynb"]
    note = table.note.splitlines()
    assert note[0].startswith("1 run in ")
    assert len(note) == 1 + len(["not_json", "not_text", "empty", "list", "folder", "foreign", "half"])
    assert all(" is not the record of a run: " in line for line in note[1:])


def test_a_run_that_was_refused_says_why_it_is_none(records: Path) -> None:
    with pytest.raises(InvalidParameter) as raised:
        read_record(records / "misspelt.ipynb")
    assert raised.value.message.endswith('InvalidParameter: small has no parameter "mdoe".')


def test_a_run_cut_off_is_not_finished_and_keeps_its_changes(records: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(records / "applied.ipynb", as_version=4)
    notebook.cells[-1].outputs = []
    nbformat.write(notebook, tmp_path / "cut.ipynb")
    record = read_record(tmp_path / "cut.ipynb")
    assert (record.ended, record.outcome) == ("", "not finished")
    assert [change["name"] for change in record.changes] == ["first.txt", "second.txt", "third.txt"]


def test_an_adopted_resource_is_left_and_not_pending(records: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(records / "checked.ipynb", as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            for change in output.get("data", {}).get(CHANGES_MIME, ())[:1]:
                change["action"] = "keep"
    nbformat.write(notebook, tmp_path / "adopted.ipynb")
    record = read_record(tmp_path / "adopted.ipynb")
    assert record.changes_summary() == "2 up to date, 1 adopted and left"
    assert record.facts()["change of file first.txt"] == "keep"


def test_comparing_tells_parameters_changes_and_outcome_apart(records: Path) -> None:
    rows = {row[0]: row[1:] for row in compare(records / "failed.ipynb", records / "applied.ipynb").rows}
    assert rows["parameters force"] == ("True", "False")
    assert rows["change of file first.txt"] == ("create", "none")
    assert rows["change of file third.txt"] == ("(none)", "create")
    assert rows["outcome"][0].startswith("failed: Unexpected: file second.txt")
    assert rows["outcome"][1] == "done"
    assert not {"environment", "fingerprint", "commit", "versions python", "started"} & set(rows)


def test_comparing_with_itself_finds_nothing(records: Path) -> None:
    table = compare(records / "applied.ipynb", records / "applied.ipynb")
    assert not table.rows
    assert str(table).endswith("say the same.")


def test_the_command_line(records: Path) -> None:
    applied, checked = str(records / "applied.ipynb"), str(records / "checked.ipynb")

    def run(*words: str) -> Result:
        return CliRunner().invoke(airflowaks, ["runs", *words])

    assert run("compare", applied, applied).exit_code == 0
    assert run("compare", applied, checked).exit_code == 1
    missing = run("show", str(records / "nothing.ipynb"))
    assert missing.exit_code == 2
    assert "is not the record of a run: no such file or directory." in missing.stderr.splitlines()[0]
    assert missing.stderr.count("\n") == 2
    shown = run("show", applied)
    assert shown.exit_code == 0
    assert "rehearsal-operator" in shown.output
    command = [sys.executable, "-m", "airflowaks", "runs", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=records.parent).stdout
    assert "checked.ipynb" in listed
    assert "3 runs in runs." in listed


def test_records_are_valid_notebooks(records: Path) -> None:
    for path in records.glob("*.ipynb"):
        nbformat.validate(json.loads(path.read_text(encoding="utf-8")))
