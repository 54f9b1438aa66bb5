"""Each drill: break, diagnose, heal, and nothing is left.

`pytest -m drill tests/deployed` runs all of them, `pytest -m broad` those that are fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.diagnosis.diagnose import diagnose
from airflowaks.session import open_session
from tests.support.drills.drill import Scene, rehearse, together
from tests.support.drills.registry import DRILLED_TOGETHER, DRILLS

if TYPE_CHECKING:
    from tests.support.deployed import Deployed
    from tests.support.drills.drill import Drill

BY_NAME = {one.act.__name__: one for one in DRILLS}


@pytest.fixture(scope="module", autouse=True)
def _calm(airflow: Deployed) -> None:
    """What tests before these have left: runs that were to fail. And DAGs that are to be known when they are run."""
    scene = Scene(airflow.cloud)
    scene.forget_failures()
    scene.push_dags()


@pytest.mark.broad
def test_nothing_is_found_where_nothing_is_wrong(airflow: Deployed) -> None:
    del airflow
    found = diagnose(open_session("local", "plan")).findings
    assert not found, str(found)


@pytest.mark.drill
@pytest.mark.broad
@pytest.mark.parametrize("names", DRILLED_TOGETHER, ids="-and-".join)
def test_two_faults_at_once_are_two_causes(airflow: Deployed, names: tuple[str, ...]) -> None:
    """These come first: an administrator who was removed and made anew may not manage the role made before."""
    together([BY_NAME[one] for one in names], airflow.cloud)


@pytest.mark.drill
@pytest.mark.parametrize(
    "drill", [pytest.param(one, id=one.name, marks=[pytest.mark.broad] * one.fast) for one in DRILLS]
)
def test_drill(airflow: Deployed, drill: Drill) -> None:
    rehearse(drill, airflow.cloud)
