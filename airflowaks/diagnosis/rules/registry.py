"""The book of all rules, and how their findings are put in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.finding import Findings, arrange
from airflowaks.diagnosis.rules.airflow import AIRFLOW
from airflowaks.diagnosis.rules.azure import AZURE
from airflowaks.diagnosis.rules.broker import BROKER
from airflowaks.diagnosis.rules.database import DATABASE
from airflowaks.diagnosis.rules.identity import IDENTITY
from airflowaks.diagnosis.rules.images import IMAGES
from airflowaks.diagnosis.rules.sources import SOURCES
from airflowaks.diagnosis.rules.storage import STORAGE
from airflowaks.diagnosis.rules.symptoms import SYMPTOMS
from airflowaks.diagnosis.rules.workloads import WORKLOADS

if TYPE_CHECKING:
    from airflowaks.diagnosis.facts.snapshot import Snapshot

# From the ground up: what stands earlier can be a cause of what stands later, never the other way round.
SECTIONS = (AZURE, IMAGES, IDENTITY, STORAGE, DATABASE, BROKER, WORKLOADS, AIRFLOW, SYMPTOMS, SOURCES)
RULES = {one.id: one for section in SECTIONS for one in section}
_ORDER = {name: position for position, name in enumerate(RULES)}


def evaluate(facts: Snapshot) -> Findings:
    """Return what all rules find in `facts`, consequences below their causes."""
    found = [finding for one in RULES.values() for finding in one.findings(facts)]
    return arrange(found, lambda name: RULES[name].effects, _ORDER.__getitem__)
