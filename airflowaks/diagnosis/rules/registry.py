"""The registry of all rules, and the evaluation of a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.finding import Findings, arrange
from airflowaks.diagnosis.rules.airflow import AIRFLOW
from airflowaks.diagnosis.rules.azure import AZURE
from airflowaks.diagnosis.rules.broker import BROKER
from airflowaks.diagnosis.rules.database import DATABASE
from airflowaks.diagnosis.rules.drift import DRIFT
from airflowaks.diagnosis.rules.identity import IDENTITY, VAULT
from airflowaks.diagnosis.rules.images import IMAGES
from airflowaks.diagnosis.rules.parsing import PARSING
from airflowaks.diagnosis.rules.probes import PROBES
from airflowaks.diagnosis.rules.replicas import REPLICAS
from airflowaks.diagnosis.rules.sources import SOURCES
from airflowaks.diagnosis.rules.storage import STORAGE
from airflowaks.diagnosis.rules.surroundings import SURROUNDINGS
from airflowaks.diagnosis.rules.symptoms import SYMPTOMS
from airflowaks.diagnosis.rules.workloads import WORKLOADS

if TYPE_CHECKING:
    from airflowaks.diagnosis.facts.snapshot import Snapshot

# In causal order: a finding can only be the effect of an earlier one.
SECTIONS = (
    AZURE,
    SURROUNDINGS,
    IMAGES,
    IDENTITY,
    STORAGE,
    DATABASE,
    BROKER,
    VAULT,
    WORKLOADS,
    REPLICAS,
    DRIFT,
    AIRFLOW,
    PROBES,
    PARSING,
    SYMPTOMS,
    SOURCES,
)
RULES = {rule.id: rule for section in SECTIONS for rule in section}
_ORDER = {name: position for position, name in enumerate(RULES)}


def evaluate(facts: Snapshot) -> Findings:
    """Return the findings of all rules, consequences below their causes."""
    findings = [finding for rule in RULES.values() for finding in rule.findings(facts)]
    return arrange(findings, lambda name: RULES[name].effects, _ORDER.__getitem__)
