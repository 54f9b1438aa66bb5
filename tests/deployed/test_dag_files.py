"""DAG files that the dag-processor cannot read, reads rarely or no longer finds: named, and healed by good files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.drills.drill import HEALED_SECONDS, Scene, look
from tests.support.failing.parsed import Parsed
from tests.support.waiting.held import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.diagnosis.diagnose import Diagnosis
    from tests.support.deployed import Deployed

pytestmark = pytest.mark.drill
SPOILT = ["AKA-731", "AKA-731", "AKA-731", "AKA-733", "AKA-734"]


@pytest.fixture
def files(airflow: Deployed) -> Iterator[Parsed]:
    made = Parsed(Scene(airflow.cloud))
    made.scene.forget_failures()
    try:
        yield made
    finally:
        made.forget()


def causes(diagnosis: Diagnosis) -> list[str]:
    """Return the findings that are no consequence of others, in the order of the first screen."""
    return [finding.id for finding in diagnosis.findings]


def test_files_that_hang_end_the_process_define_a_dag_twice_or_are_gone(files: Parsed) -> None:
    files.spoil()
    seen = look(lambda seen: causes(seen) == SPOILT, SECONDS)
    assert causes(seen) == SPOILT, str(seen)
    told = " ".join(finding.cause for finding in seen.findings)
    assert "The file hangs.py takes longer to read than the dag-processor waits" in told
    assert "The file slow.py takes longer to import than Airflow waits" in told
    assert "The process that reads the file dies.py ends before it is done" in told
    # By one sentence or the other, as the dag-processor happens to take turns.
    assert "DAG twice is defined in 2 files" in told or "has the ID of a DAG in another file" in told
    assert "DAG removed: file removed.py" in str(seen)
    files.mend()
    left = look(lambda seen: not seen.findings, HEALED_SECONDS)
    assert not left.findings, str(left)


def test_files_that_are_read_rarely(files: Parsed) -> None:
    files.mend()
    files.read_rarely()

    def told(seen: Diagnosis) -> bool:
        files.age()
        return causes(seen) == ["AKA-732"]

    seen = look(told, SECONDS)
    assert causes(seen) == ["AKA-732"], str(seen)
    files.read_often()
    left = look(lambda seen: not seen.findings, HEALED_SECONDS)
    assert not left.findings, str(left)
