"""Every kind of request, disturbed in every way: the run ends well or says why, and the next one ends well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.torture.faults import FAULTS, KILLS
from tests.support.torture.lane import Lane
from tests.support.torture.middle import UNCLOSED
from tests.support.torture.phases import PHASES

if TYPE_CHECKING:
    from tests.support.plugins.torture import Cases
    from tests.support.torture.phases import Phase
    from tests.torture.conftest import Sweep

pytestmark = pytest.mark.filterwarnings(UNCLOSED)


@pytest.mark.torture
@pytest.mark.parametrize("phase", PHASES, ids=str)
def test_faults(sweep: Sweep, cases: Cases, phase: Phase) -> None:
    sweep.disturb(cases, phase, FAULTS)


@pytest.mark.torture
@pytest.mark.parametrize("phase", PHASES, ids=str)
def test_kills(sweep: Sweep, cases: Cases, phase: Phase) -> None:
    sweep.disturb(cases, phase, KILLS)


@pytest.mark.torture
def test_nothing_is_left(sweep: Sweep) -> None:
    assert sweep.leftovers() == []


@pytest.mark.broad
def test_a_sample(cases: Cases) -> None:
    """One case of each fault and kill, in the phases that need no cluster."""
    with Lane(PHASES[:4]) as lane:
        kinds = lane.record().kinds
        for number, fault in enumerate((*FAULTS, *KILLS)):
            phase, kind = kinds[(3 * number + 1) % len(kinds)]
            if cases.selected(name := f"{phase}: {fault}: {kind}"):
                with cases.case(fault, name):
                    lane.disturb(phase, kind, fault)
        assert lane.leftovers() == []
