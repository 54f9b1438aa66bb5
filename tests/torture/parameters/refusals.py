"""The golden file of refused parameters: `python -m tests.torture.parameters.refusals` renews it."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from tests.support.notebooks import NOTEBOOKS
from tests.support.repository import REPOSITORY
from tests.torture.golden import VALUE, render
from tests.torture.parameters.cases import refusals, wrong

FILE = Path(__file__).with_suffix(".txt")
NOTHING_STARTED = "RehearsalUnavailable"


def now() -> str:
    """Return the golden file as it is to be; raises AssertionError where a refused run has written something."""
    groups: dict[str, dict[str, dict[str, list[str]]]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        furnish(folder)
        before = sorted(folder.rglob("*"))
        for notebook in NOTEBOOKS:
            values = [*wrong(notebook)]
            for (name, value), (kind, *lines) in zip(values, refusals(notebook, values, folder), strict=True):
                said = "accepted" if kind == NOTHING_STARTED else _template(kind, lines, value, folder / notebook.name)
                groups.setdefault(name, {}).setdefault(repr(value), {}).setdefault(said, []).append(notebook.stem[:2])
        assert sorted(folder.rglob("*")) == before
    by_head: dict[str, dict[str, list[str]]] = {}
    for name, values_of in groups.items():
        for value, told in values_of.items():
            for said, notebooks in told.items():
                by_head.setdefault(f"{name} of {' '.join(notebooks)}", {}).setdefault(said, []).append(value)
    return render(by_head)


def furnish(folder: Path) -> None:
    """Make a working directory with two environments, a file, an empty folder and a folder of DAGs."""
    environments = folder / "manifests" / "environments"
    environments.mkdir(parents=True)
    local = (REPOSITORY / "manifests/environments/local.yaml").read_text()
    (environments / "local.yaml").write_text(local)
    (environments / "direct.yaml").write_text(f"access: direct\n{local}")
    (folder / "file.txt").touch()
    (folder / "empty").mkdir()
    (folder / "dags").mkdir()
    (folder / "dags" / "daily.py").touch()
    os.environ["AIRFLOWAKS_HOME"] = str(folder / "file.txt" / "home")


def _template(kind: str, lines: list[str], value: object, notebook: Path) -> str:
    text = f"{kind}: {' → '.join(lines)}".replace(f"{notebook.parent}/", "").replace("\n", "\\n")
    text = text.replace(notebook.stem, "the notebook").replace(f'"{value}"', f'"{VALUE}"')
    return re.sub(rf"(?<=got ){re.escape(repr(value))}(?=\.)", VALUE, text)


if __name__ == "__main__":
    FILE.write_text(now(), encoding="utf-8")
