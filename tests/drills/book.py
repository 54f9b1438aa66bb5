"""All drills, and which rules none of them is about, and why."""

from __future__ import annotations

from tests.drills.airflow import AIRFLOW
from tests.drills.azure import AZURE
from tests.drills.broker import BROKER
from tests.drills.database import DATABASE
from tests.drills.identity import IDENTITY
from tests.drills.images import IMAGES
from tests.drills.sources import SOURCES
from tests.drills.storage import STORAGE
from tests.drills.workloads import WORKLOADS

DRILLS = [*AZURE, *IMAGES, *IDENTITY, *STORAGE, *SOURCES, *DATABASE, *BROKER, *WORKLOADS, *AIRFLOW]
DRILLED_TOGETHER = (
    ("the_pods_identity_loses_its_role", "the_database_is_given_to_somebody_else"),
    ("a_secret_is_deleted", "the_broker_may_evict"),
)
"""Which drills are run at the same time, in every run: two faults are two causes."""
_NO_SMB = "shares are folders here, and nobody speaks SMB"
_ONE_NODE = "the rehearsal's node is the machine that the tests run on"
_TOLD_FIRST = "only a consequence here: what brings it about has a rule of its own"
UNDRILLED = {
    "AKA-005": _TOLD_FIRST,
    "AKA-006": _TOLD_FIRST,
    "AKA-303": "no issuer of the rehearsal is out of Entra's reach",
    "AKA-311": "the driver's next round, here a second later, brings the Secret back",
    "AKA-401": _NO_SMB,
    "AKA-402": _NO_SMB,
    "AKA-403": _NO_SMB,
    "AKA-404": _NO_SMB,
    "AKA-405": _NO_SMB,
    "AKA-408": _ONE_NODE,
    "AKA-409": _NO_SMB,
    "AKA-410": "Airflow 3 says it where SMB refuses to change owners",
    "AKA-505": "PostgreSQL says it to the operator alone, who is then in the midst of step 3",
    "AKA-506": "nothing of Airflow's makes an extension",
    "AKA-705": _TOLD_FIRST,
    "AKA-707": "it takes a task that runs while its log is fetched",
    "AKA-709": "it is said by the probes of other charts",
    "AKA-715": "it takes a DAG that reads an encrypted connection",
    "AKA-716": "it takes an image with another celery",
    "AKA-804": "it would take the deployment of all other drills away",
    "AKA-812": _ONE_NODE,
    "AKA-813": _ONE_NODE,
    "AKA-903": _TOLD_FIRST,
    "AKA-904": _TOLD_FIRST,
    "AKA-905": "a queue counts as stuck after five minutes only",
}


def every_run() -> set[str]:
    """Return the rules that are drilled in every run of the tests."""
    together = {name for names in DRILLED_TOGETHER for name in names}
    return {one.rule for one in DRILLS if one.fast or one.act.__name__ in together}
