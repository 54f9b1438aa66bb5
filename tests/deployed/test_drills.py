"""Each drill: break, diagnose, heal, and nothing is left.

`pytest -m drill tests/deployed` runs all of them, `pytest -m broad` those that are fast.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from airflowaks.diagnosis.diagnose import diagnose
from airflowaks.session import open_session
from tests.support.deployed import NAMESPACE
from tests.support.drills.drill import Scene, rehearse, together
from tests.support.drills.registry import DRILLED_TOGETHER, DRILLS

if TYPE_CHECKING:
    from tests.support.deployed import Deployed
    from tests.support.drills.drill import Drill

BY_NAME = {one.act.__name__: one for one in DRILLS}

TRIED, DATABASES = 1, 3
"""Connections to PostgreSQL: one tries the port, then one for each database, of Airflow, Celery and the server."""


@pytest.fixture(scope="module", autouse=True)
def _calm(airflow: Deployed) -> None:
    """What tests before these have left: runs that were to fail. And DAGs that are to be known when they are run."""
    scene = Scene(airflow.cloud)
    scene.forget_failures()
    scene.push_dags()


@pytest.mark.broad
def test_nothing_is_found_where_nothing_is_wrong_and_nothing_is_asked_twice(airflow: Deployed) -> None:
    before = len(airflow.cloud.requests())
    session = open_session("local", "plan")
    found = diagnose(session).findings
    assert not found, str(found)
    asked = Counter(
        (one["path"], one["query"])
        for one in airflow.cloud.requests()[before:]
        if one["method"] == "GET" and one["principal"] == session.operator.object_id
    )
    # What a step's resource and a reader of the cluster read, each as it needs it; and the tunnel's pod is waited for.
    twice = {path for (path, _), times in asked.items() if times > 1} - {
        f"/api/v1/namespaces/{NAMESPACE}",
        f"/api/v1/namespaces/{NAMESPACE}/configmaps/airflow-configuration",
    }
    assert {path for path in twice if "/pods" not in path} == set()
    streams = [times for (path, _), times in asked.items() if "/airflow-tunnel-" in path and "/portforward" in path]
    assert max(streams) <= TRIED + DATABASES


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
