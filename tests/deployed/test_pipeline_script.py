"""The pipeline's deployment as it stands, but to `local`: its script, on an environment that is deployed already."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from airflowaks.engine.checks import CHECKS_MIME
from tests.support import pipelines
from tests.support.deployed import written
from tests.support.notebooks import Executed
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.deployed import Deployed


@pytest.mark.broad
def test_its_deployment_runs_again_and_writes_nothing(airflow: Deployed, tmp_path: Path) -> None:
    (job,) = pipelines.jobs("dev", image="import")
    (step,) = [one for one in pipelines.steps(job) if one.get("task") == "AzureCLI@2"]
    said = {name: value.replace("runs/dev-apply", str(tmp_path / "runs")) for name, value in step["env"].items()}
    begun = time.time()
    done = subprocess.run(
        ["bash", "-c", step["inputs"]["inlineScript"]],  # noqa: S607 - as found on the agent
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, **said, "ENVIRONMENT": "local"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    records = {path.stem: Executed(path) for path in (tmp_path / "runs").glob("*.ipynb")}
    assert len(records) == 8
    assert {check["passed"] for check in records["00_deploy"].shown(CHECKS_MIME)[-1]} == {True}
    assert written(airflow, begun) == []
