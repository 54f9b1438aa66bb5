"""Probes of Airflow 2: Airflow 3 answers their path with 404, so that healthy pods are restarted or get no requests."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import WARNING, Cause, Section, components_of
from airflowaks.engine.converge import converge
from airflowaks.kube.ownership import taking_over
from airflowaks.steps import airflow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.engine.changes import Changes
    from airflowaks.session import Session

MOVED = "Probe.httpGet.path: /health "
"""Words of the difference of a Deployment whose probe is one of Airflow 2."""
PROBES = Section("log", "event", "container", "reading")


@PROBES.rule(
    "AKA-709",
    WARNING,
    effects=("AKA-9",),
    link="https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/logging-monitoring/check-health.html",
    automatic=True,
    lasting=True,
)
def _path_has_moved(facts: Snapshot) -> Iterable[Cause]:
    """By what differs from the manifests, as the kubelet tells only the status 404; else by Airflow's own words."""
    objects = [status for status in facts.kubernetes.objects.values() if status.kind == "Deployment"]
    edited = {status.name: differences for status in objects if (differences := status.differing(MOVED))}
    for name, differences in edited.items():
        yield Cause(
            f"Probes of the Deployment {name} request /health, which Airflow 3 has moved.",
            "Set back the manifests' paths. Step 7 alone overwrites no field that another tool has set; this fix does,"
            " and its plan shows each.",
            [f"Deployment {name}: {difference}" for difference in differences],
            frozenset({name.removeprefix("airflow-")}),
            partial(_set_back, name),
        )
    lines = PROBES.lines(facts, ("Moved in Airflow 3", "monitor/health"))
    yield Cause(
        "A probe requests /health, which Airflow 3 has moved.",
        "Have it request /api/v2/monitor/health.",
        [] if edited else lines,
        components_of(lines),
    )


def _set_back(name: str, session: Session) -> Changes:
    """Apply the Deployment's manifest, and take over what others have set in it."""
    (deployment,) = (each for each in session.memoize(airflow.Resources).deployments if each.name == name)
    with taking_over(session):
        return converge(session, deployment)
