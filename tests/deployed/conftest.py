"""The Airflow that the tests of this folder look at and break."""

from __future__ import annotations

import pytest

from tests.support.deployed import Deployed
from tests.support.notebooks import execute
from tests.support.plugins.groups import shared
from tests.support.rehearsal import own_rehearsal
from tests.support.repository import REPOSITORY


@pytest.fixture(scope="session")
def airflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """An Airflow in a rehearsal cloud of its own, deployed by the notebook as papermill runs it."""
    records = tmp_path_factory.mktemp("records")
    cloud = shared(request.config).enter_context(own_rehearsal())
    execute(REPOSITORY / "notebooks/00_deploy.ipynb", records / "00_deploy.ipynb", records=str(records))
    return Deployed(cloud, records)
