"""Sources that could not be asked: a fact of its own, and mostly the consequence of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import CRITICAL, WARNING, Cause, Section

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

SOURCES = Section()
_LINK = "https://learn.microsoft.com/azure/aks/control-plane-metrics-monitor"


@SOURCES.rule("AKA-001", CRITICAL, effects=("AKA-0",), link=_LINK)
def azure_is_silent(facts: Snapshot) -> Iterable[Cause]:
    """Tell that Resource Manager could not be asked."""
    if problem := facts.unread("azure.resources"):
        yield Cause(
            "Azure Resource Manager could not be asked.",
            "Sign in with `az login`, and check the network, `proxy` and `ca_bundle`; status.azure.com names outages.",
            [f"azure.resources: {problem}"],
        )


@SOURCES.rule("AKA-007", WARNING, link="https://learn.microsoft.com/graph/errors")
def graph_is_silent(facts: Snapshot) -> Iterable[Cause]:
    """Tell that groups could not be read, which says nothing of whether Airflow works."""
    if problems := _problems(facts, "Entra group"):
        yield Cause(
            "Microsoft Graph could not be asked for the groups of administrators and developers.",
            "See the message; status.azure.com names outages, and reading groups takes the right Group.Read.All.",
            problems,
        )


@SOURCES.rule(
    "AKA-008",
    CRITICAL,
    effects=("AKA-003", "AKA-004", "AKA-006"),
    link="https://learn.microsoft.com/azure/key-vault/general/troubleshooting-access-issues",
)
def vault_is_silent(facts: Snapshot) -> Iterable[Cause]:
    """Tell that none of the vault's secrets could be read, without which neither Airflow nor its backend is asked."""
    problems = _problems(facts, "secret")
    if problems and len(problems) == sum(one.kind == "secret" for one in facts.azure.resources.values()):
        yield Cause(
            "The vault could not be asked for Airflow's secrets.",
            "See the message: it is the vault's, or the way to it.",
            problems,
        )


def _problems(facts: Snapshot, kind: str) -> list[str]:
    return [f"{one.title}: {one.problem}" for one in facts.azure.resources.values() if one.kind == kind and one.problem]


for _name, _part, _cause, _fix, _effects in (
    (
        "AKA-002",
        "kubernetes.pods",
        "The cluster's API could not be asked.",
        "See whether the cluster runs, and whether `cluster.authorized_ip_ranges` lets you in.",
        ("AKA-003", "AKA-005"),
    ),
    (
        "AKA-003",
        "airflow.api",
        "Airflow's REST API could not be asked.",
        "See whether a pod of the api-server is ready, and what it logs.",
        (),
    ),
    (
        "AKA-004",
        "backend.database",
        "Airflow's database could not be asked.",
        "See the message: it is the server's, or the way to it.",
        ("AKA-003",),
    ),
    (
        "AKA-005",
        "airflow.queues",
        "Workers could not be asked for their queues.",
        "See whether a pod of the worker is ready, and what it logs.",
        (),
    ),
    (
        "AKA-006",
        "backend.broker",
        "The broker could not be asked.",
        "See the message: it is the broker's, or the way to it.",
        ("AKA-005",),
    ),
):

    def _look(facts: Snapshot, part: str = _part, cause: str = _cause, fix: str = _fix) -> Iterable[Cause]:
        if problem := facts.unread(part):
            yield Cause(cause, fix, [f"{part}: {problem}"])

    SOURCES.rule(_name, CRITICAL, effects=_effects, link=_LINK)(_look)
