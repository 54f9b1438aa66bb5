"""The preflight in the notebooks: an apply ends there with two lines, and a plan shows the same table and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.preflight.rows import PREFLIGHT_MIME
from tests.support.notebooks import execute
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad


@pytest.fixture
def closed(rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    """A rehearsal whose region has no PostgreSQL 17."""
    rehearsal.control("POST", {"restriction": "version", "name": "PostgreSQL 17"})
    yield rehearsal
    rehearsal.control("DELETE")


@pytest.mark.parametrize("notebook", ["00_deploy", "01_cluster"])
def test_an_apply_ends_before_anything_is_written(closed: Rehearsal, tmp_path: Path, notebook: str) -> None:
    before = len(closed.requests())
    executed = execute(REPOSITORY / "notebooks" / f"{notebook}.ipynb", tmp_path / "record.ipynb", mode="apply")
    (failure,) = executed.errors
    assert failure.ename == "PreflightStopped"
    message, action = failure.traceback[-2:]
    assert "PostgreSQL: PostgreSQL 17 is not available in westeurope; available are 14, 15, 16, 18." in message
    assert action == "→ Set `postgresql.version` in the environment file to one of these."
    (verdicts,) = executed.shown(PREFLIGHT_MIME)
    assert [row["check"] for row in verdicts if row["verdict"] == "stops"] == ["PostgreSQL"]
    assert not [each for each in closed.requests()[before:] if each["method"] in ("PUT", "PATCH", "DELETE")]


def test_a_plan_goes_on_with_the_image_that_the_run_chose(closed: Rehearsal, tmp_path: Path) -> None:
    del closed
    notebook = REPOSITORY / "notebooks" / "01_cluster.ipynb"
    executed = execute(notebook, tmp_path / "record.ipynb", mode="plan", image="build")
    assert executed.errors == []
    (verdicts,) = executed.shown(PREFLIGHT_MIME)
    assert [row["check"] for row in verdicts if row["verdict"] == "stops"] == ["PostgreSQL"]
    assert "builds in the registry" in {row["check"] for row in verdicts}
