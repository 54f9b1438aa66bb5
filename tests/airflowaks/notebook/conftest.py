"""What tests of notebooks stand on: working directories with two environments, and the records of some runs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import files
from tests.support.notebooks import CLOSE, CONVERGE, PARAMETERS, START, execute, write_notebook
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def workplaces(rehearsal: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """Makes working directories with the environments local and dev, the latter as on Azure: it is asked before."""

    def make() -> Path:
        folder = tmp_path_factory.mktemp("workplace")
        environments = folder / "manifests" / "environments"
        environments.mkdir(parents=True)
        local = yaml.safe_load((REPOSITORY / "manifests/environments/local.yaml").read_text())
        (environments / "local.yaml").write_text(yaml.safe_dump(local))
        connection = rehearsal.connection
        dev = local | {"proxy": connection["HTTPS_PROXY"], "ca_bundle": connection["REQUESTS_CA_BUNDLE"]}
        (environments / "dev.yaml").write_text(yaml.safe_dump(dev | {"cloud": "azure"}))
        shutil.copy(files.__file__, folder)
        return folder

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
            patch.setenv(name, rehearsal.connection[name])
        yield make


@pytest.fixture
def workplace(workplaces: Callable[[], Path]) -> Path:
    return workplaces()


@pytest.fixture(scope="session")
def records(workplaces: Callable[[], Path]) -> Path:
    """A folder with the records of an apply, a failed apply, a plan after all that, and a misspelt parameter."""
    folder = workplaces()
    notebook = write_notebook(folder / "small.ipynb", PARAMETERS, START, CONVERGE, CLOSE)
    (folder / "runs").mkdir()
    for name, parameters in {
        "failed": {"force": True},
        "misspelt": {"mdoe": "plan"},
        "applied": {},
        "checked": {"mode": "check"},
    }.items():
        execute(notebook, folder / "runs" / f"{name}.ipynb", **parameters)
    return folder / "runs"
