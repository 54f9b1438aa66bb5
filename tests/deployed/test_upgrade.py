"""Upgrades of a deployed Airflow: its nodes are replaced under it, and another image takes its place and goes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.engine.changes import CHANGES_MIME
from airflowaks.engine.checks import CHECKS_MIME
from airflowaks.session import open_session
from airflowaks.steps import upgrade_plan, upgrades
from tests.support.notebooks import execute
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.deployed import Deployed

NOTEBOOK = REPOSITORY / "notebooks" / "10_upgrade.ipynb"


@pytest.mark.story
def test_nodes_and_image_are_upgraded_and_airflow_works(airflow: Deployed, tmp_path: Path) -> None:
    airflow.cloud.control("POST", {"restriction": "node-image", "name": "202612.01.0"})
    try:
        record = execute(NOTEBOOK, tmp_path / "nodes.ipynb", mode="apply", upgrade="node-image")
        assert not record.errors
        (change,) = record.shown(CHANGES_MIME)[-1]
        assert (change["kind"], change["applied"]) == ("node image of pool", True)
        assert {check["passed"] for check in record.shown(CHECKS_MIME)[-1]} == {True}
        again = execute(NOTEBOOK, tmp_path / "again.ipynb", mode="check")
        assert not again.errors
        assert {change["action"] for change in again.shown(CHANGES_MIME)[-1]} == {"none"}
    finally:
        airflow.cloud.control("DELETE")
    for image, schema in (("build", "the schema stays"), ("import", "the schema moves: an unknown one → d2f4e1b3c5a7")):
        session = open_session("local", image=image)
        planned = {row[0]: row for row in upgrade_plan.plan(session).rows}["airflow"]
        assert planned[3].endswith(schema)
        assert planned[5].startswith("the image that runs now")
        assert any(change.kind == "Deployment" and change.applied for change in upgrades.airflow(session))
        assert not upgrades.checks(session, "airflow").failed
        session.close()
