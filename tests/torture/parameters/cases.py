"""Wrong values of the notebooks' parameters, each tried in each notebook that has the parameter.

A kernel runs a notebook's cell of parameters, papermill's cell and the cell that calls `start`. AIRFLOWAKS_HOME is
below a file, so that no rehearsal can start: a value that is accepted ends there.
"""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING

import nbformat
from jupyter_client.manager import start_new_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

KINDS: Mapping[str, tuple[object, ...]] = {
    "str": (
        None,
        5,
        1.5,
        True,
        [],
        {},
        " ",
        "a\n",
        "\0",
        "\u200b",
        "\u3164",
        "\u00e9",
        "a b",
        "'",
        "$HOME",
        "-",
        "a" * 300,
    ),
    "int": (None, 1.5, True, "", "5", "many", []),
    "bool": (None, 0, 1, "", "true", "False", []),
}
"""By annotation: values of another type, and texts that are no value of any parameter."""
VALUES: Mapping[str, tuple[object, ...]] = {
    "env": ("", "lcoal", "LOCAL", "local.yaml", "../local", "/etc/passwd", "local/", "local,direct"),
    "mode": ("", "Apply", "aply", "dry-run", "plan,apply"),
    "image": ("sha256:xyz", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "apache/airflow:3.3.2", "-mine", "a" * 129),
    "records": ("file.txt", "file.txt/below", "b" * 5000, "dags/daily.py", "/proc/records"),
    "operator_address": (
        *("203.0.113.10", "203.0.113.0/24", "::1", "me", "203.0.113.256", "010.1.1.1", "224.0.0.1", "127.0.0.1"),
        "0.0.0.0",  # noqa: S104 - nobody listens there
    ),
    "rotate": ("nonsense", "airflow_jwt_secret", "Airflow-Jwt-Secret", "all"),
    "dags": ("nowhere", "file.txt", "empty", "dags/daily.py"),
    "since": ("yesterday", "\u0663h", "999999999d", "91d", "0m", "-1h", "1.5h", "1w", "1h30m", "h", "1H", "9" * 5000),
    "component": ("foo", "sheduler", "Scheduler", "airflow-scheduler", "scheduler,worker", "worker-nonsense"),
    "upgrade": ("node_image", "Kubernetes", "all", "kubernetes,postgresql"),
    "fix": ("AKA-999", "aka-201", "201", "AKA-201,AKA-202"),
    "namespace": ("Airflow", "a" * 64, "a_b", "-a", "a.b"),
    "bundle": ("empty", "file.txt/evidence.zip", "b" * 5000, ".", "/proc/evidence.zip"),
    "load": (-1, 1001, 10**30),
    "task": ("a/b/c/d", "/", "a//b", "a/", "/a", "DAG RUN"),
    "confirm": ("lcoal", "LOCAL", "yes", "local "),
    "force_import": (),
    "purge": (),
    "wait": (),
}
"""By parameter; a parameter that is missing here fails the test."""
_RUN = """
import json
from IPython import get_ipython
shell, told = get_ipython(), []
for cell in {cells!r}:
    shell.run_cell({parameters!r}, store_history=True, silent=False)
    shell.run_cell(cell, store_history=True)
    result = shell.run_cell({start!r}, store_history=True)
    error = result.error_before_exec or result.error_in_exec
    told.append([type(error).__name__, *map(str, error.args)])
with open("told.json", "w") as file:
    json.dump(told, file)
"""


def parameters(notebook: Path) -> tuple[str, str, dict[str, str]]:
    """Return a notebook's cell of parameters, its cell that calls `start`, and its parameters' annotations."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    declared = next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", ()))
    start = next(cell.source for cell in cells if "start(" in cell.source)
    lines = [line for line in ast.parse(declared).body if isinstance(line, ast.AnnAssign)]
    return declared, start, {ast.unparse(line.target): ast.unparse(line.annotation) for line in lines}


def wrong(notebook: Path) -> Iterator[tuple[str, object]]:
    """Return each parameter of a notebook with each wrong value, and a parameter that it does not have."""
    for name, kind in parameters(notebook)[2].items():
        for value in (*KINDS[kind], *VALUES[name]):
            yield name, value
        yield name[1:], ""


def refusals(notebook: Path, values: Sequence[tuple[str, object]], folder: Path) -> list[list[str]]:
    """Start a notebook with each of the values, and return the error of each: its class, its message, its action."""
    declared, start, _ = parameters(notebook)
    # The environment that connects directly is the one that takes an operator's address.
    beside = {"operator_address": 'env = "direct"\n', "confirm": 'mode = "apply"\n'}
    cells = [f"# Parameters\n{beside.get(name, '')}{name} = {value!r}\n" for name, value in values]
    code = _RUN.format(cells=cells, parameters=declared, start=start)
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(folder), extra_arguments=["--log-level=ERROR"])
    try:
        reply = client.execute_interactive(code, output_hook=lambda _: None, timeout=300)
        assert reply["content"]["status"] == "ok", reply
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
    told: list[list[str]] = json.loads((folder / "told.json").read_text())
    (folder / "told.json").unlink()
    return told
