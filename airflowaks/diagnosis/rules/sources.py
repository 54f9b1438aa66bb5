"""Sources that did not answer: findings of their own, and mostly effects of other causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import WARNING, Cause, Section

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

SOURCES = Section("reading", link="https://learn.microsoft.com/azure/aks/control-plane-metrics-monitor")


SOURCES.text_rules("AKA-001")


@SOURCES.rule("AKA-007", WARNING, link="https://learn.microsoft.com/graph/errors")
def _graph_does_not_answer(facts: Snapshot) -> Iterable[Cause]:
    yield Cause(
        "Microsoft Graph does not return the groups of administrators, developers and viewers.",
        "Read the evidence. To read groups you need the permission Group.Read.All; status.azure.com lists outages.",
        _problems(facts, "Entra group"),
    )


@SOURCES.rule(
    "AKA-008",
    effects=("AKA-003", "AKA-004", "AKA-006"),
    link="https://learn.microsoft.com/azure/key-vault/general/troubleshooting-access-issues",
)
def _vault_does_not_answer(facts: Snapshot) -> Iterable[Cause]:
    problems = _problems(facts, "secret")
    if len(problems) == sum(status.kind == "secret" for status in facts.azure.resources.values()):
        yield Cause(
            "The vault does not return Airflow's secrets.",
            "Read the evidence: it has the vault's error, or that of the connection to it.",
            problems,
        )


def _problems(facts: Snapshot, kind: str) -> list[str]:
    statuses = [status for status in facts.azure.resources.values() if status.kind == kind]
    return [f"{status.title}: {status.problem}" for status in statuses if status.problem]


SOURCES.text_rules("AKA-002", "AKA-003", "AKA-009", "AKA-004", "AKA-005", "AKA-006")
