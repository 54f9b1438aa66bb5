"""All drills, and which of them are run every time."""

from __future__ import annotations

from tests.support.drills.airflow import AIRFLOW
from tests.support.drills.azure import AZURE
from tests.support.drills.broker import BROKER
from tests.support.drills.database import DATABASE
from tests.support.drills.hung import HUNG
from tests.support.drills.identity import IDENTITY
from tests.support.drills.images import IMAGES
from tests.support.drills.sources import SOURCES
from tests.support.drills.storage import STORAGE
from tests.support.drills.surroundings import SURROUNDINGS
from tests.support.drills.workloads import LAST, WORKLOADS

DRILLS = [
    *AZURE,
    *IMAGES,
    *IDENTITY,
    *STORAGE,
    *SOURCES,
    *DATABASE,
    *BROKER,
    *SURROUNDINGS,
    *WORKLOADS,
    *HUNG,
    *AIRFLOW,
    *LAST,
]
DRILLED_TOGETHER = (
    ("the_pods_identity_loses_its_role", "the_database_is_given_to_somebody_else"),
    ("a_secret_is_deleted", "the_broker_may_evict"),
)
"""Which drills are run at the same time, in every run: two faults are two causes."""


def every_run() -> set[str]:
    """Return the rules that are drilled in every run of the tests."""
    together = {name for names in DRILLED_TOGETHER for name in names}
    return {one.rule for one in DRILLS if one.fast or one.act.__name__ in together}
