"""Sources that could not be asked: a fact of its own, and mostly the consequence of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import CRITICAL, Cause, Section

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.world import Facts

SOURCES = Section()
_LINK = "https://learn.microsoft.com/azure/aks/control-plane-metrics-monitor"

for _name, _part, _cause, _fix, _effects in (
    (
        "AKA-001",
        "azure.resources",
        "Azure Resource Manager could not be asked.",
        "Sign in with `az login`, and check the network, `proxy` and `ca_bundle`; status.azure.com names outages.",
        ("AKA-0",),
    ),
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

    def _look(facts: Facts, part: str = _part, cause: str = _cause, fix: str = _fix) -> Iterable[Cause]:
        if problem := facts.unread(part):
            yield Cause(cause, fix, [f"{part}: {problem}"])

    SOURCES.rule(_name, CRITICAL, effects=_effects, link=_LINK)(_look)
