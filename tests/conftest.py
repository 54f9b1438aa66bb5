"""What most tests stand on: a rehearsal cloud of their own, reached only as a user's programs reach it."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.deployed import Deployed
from tests.support.notebooks import execute
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGUN = psutil.Process().create_time()


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """The rehearsal cloud that tests share; durations are 1:20,000 of Azure's."""
    home = tmp_path_factory.mktemp("rehearsal")
    started = start_rehearsal(home, "--time-scale", "0.00005")
    os.environ["AIRFLOWAKS_HOME"] = str(home)
    yield started
    run_rehearsal(home, "reset")


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """The Airflow that nbval's run of the notebooks has deployed; where they were left out, it is deployed now."""
    records = tmp_path_factory.mktemp("records")
    made = [path for path in (REPOSITORY / "runs").glob("local-*") if path.stat().st_mtime > _BEGUN]
    if made:
        shutil.copytree(max(made), records, dirs_exist_ok=True)
    else:
        execute(REPOSITORY / "notebooks/00_deploy.ipynb", records / "00_deploy.ipynb", records=str(records))
    return Deployed(start_rehearsal(Path(os.environ["AIRFLOWAKS_HOME"])), records)


@pytest.fixture
def group_name() -> str:
    """A resource group's name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:10]}"
