"""The notebooks of the repository: their form, and that they run from the root and from where they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import psutil
import pytest
from azure.keyvault.secrets import SecretClient

from airflowaks.changes import CHANGES_MIME
from airflowaks.checks import CHECKS_MIME
from airflowaks.environment import load_environment
from tests.notebooks.executed import REPOSITORY, Executed, execute, papermill

if TYPE_CHECKING:
    from collections.abc import Callable

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
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
        assert len(cell.source.splitlines()) <= MOST_LINES
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
def test_its_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    assert links
    assert all((path.parent / link).exists() for link in links)


@pytest.fixture(scope="module")
def deployed(rehearsal: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of all notebooks with their defaults: the deployment leaves one of each step's."""
    del rehearsal
    folder = tmp_path_factory.mktemp("runs")
    execute(REPOSITORY / "notebooks/00_deploy.ipynb", folder / "00_deploy.ipynb", records=str(folder))
    execute(REPOSITORY / "notebooks/09_teardown.ipynb", folder / "09_teardown.ipynb")
    return folder


@each_notebook
def test_it_runs_with_its_defaults(deployed: Path, path: Path) -> None:
    record = Executed(deployed / path.name)
    assert not record.errors
    planned = path.stem == "09_teardown"
    assert {check["passed"] for check in record.shown(CHECKS_MIME)[-1]} == {None if planned else True}
    assert {change["applied"] or change["action"] == "none" for change in record.shown(CHANGES_MIME)[-1]} == {
        not planned
    }


@pytest.mark.parametrize("folder", ["", "notebooks"])
def test_papermill_runs_from_the_root_and_from_the_notebooks(deployed: Path, folder: str) -> None:
    notebook = "03_backend.ipynb" if folder else "notebooks/03_backend.ipynb"
    record = deployed / f"again-from-{folder or 'root'}.ipynb"
    done = papermill(notebook, str(record), "-p", "env", "local", "-p", "mode", "check", cwd=REPOSITORY / folder)
    assert done.returncode == 0, done.stderr
    assert {change["action"] for change in Executed(record).shown(CHANGES_MIME)[-1]} == {"none"}


@pytest.fixture
def vault_secrets(rehearsal: Any) -> Callable[[], dict[str, str]]:
    """Reads every version of every secret in the vault of `local`."""

    def read() -> dict[str, str]:
        url = f"https://{load_environment('local').key_vault.name}.vault.azure.net"
        transport = {key: value for key, value in rehearsal.transport.items() if key != "polling_interval"}
        with SecretClient(url, rehearsal.credential(), **transport) as client:
            names = [secret.name for secret in client.list_properties_of_secrets()]
            versions = [one for name in names for one in client.list_properties_of_secret_versions(name)]
            found = {f"{one.name}/{one.version}": client.get_secret(one.name, one.version).value for one in versions}
        return {name: value for name, value in found.items() if value}

    return read


def test_no_record_log_or_process_shows_a_secret(
    deployed: Path, rehearsal: Any, vault_secrets: Callable[[], dict[str, str]]
) -> None:
    execute(REPOSITORY / "notebooks/04_key_vault.ipynb", deployed / "rotated.ipynb", rotate="airflow-sql-alchemy-conn")
    secrets = vault_secrets()
    assert len(secrets) == 9 + 4, "the four database URLs are there as they were and as they are"
    left = {str(path): path.read_text(encoding="utf-8", errors="replace") for path in deployed.iterdir()}
    logs = [path for pattern in ("*.log", "*.jsonl") for path in Path(rehearsal.home).rglob(pattern)]
    left |= {str(path): path.read_text(encoding="utf-8", errors="replace") for path in logs}
    processes = psutil.process_iter(["pid", "cmdline"])
    left |= {f"process {one.info['pid']}": " ".join(one.info["cmdline"] or ()) for one in processes}
    assert logs
    parts = {name: value.partition("://")[2].partition("@")[0].rpartition(":")[2] for name, value in secrets.items()}
    for name in secrets:
        for value in {secrets[name], parts[name]} - {""}:
            assert not [where for where, text in left.items() if value in text], name
