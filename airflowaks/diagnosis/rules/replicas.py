"""Replicas: Deployments that somebody has paused or scaled to 0, and KEDA, which scales the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis import kubectl
from airflowaks.diagnosis.rules.rule import DOWNSTREAM, Cause, Section
from airflowaks.engine.converge import converge
from airflowaks.kube.ownership import taking_over
from airflowaks.steps import airflow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.engine.changes import Changes
    from airflowaks.session import Session

REPLICAS = Section("event", link="https://kubernetes.io/docs/concepts/workloads/controllers/deployment/")


def _enable(session: Session) -> Changes:
    """Resume paused Deployments, and set the replicas of the manifests where somebody has scaled to 0."""
    disabled = [
        deployment
        for deployment in session.memoize(airflow.Resources).deployments
        if deployment.facts and not deployment.facts["spec"].get("replicas", 1)
    ]
    with taking_over(session):
        return kubectl.resume(session) + converge(session, *disabled)


@REPLICAS.rule("AKA-811", effects=DOWNSTREAM, remedy=_enable)
def _deployment_is_disabled(facts: Snapshot) -> Iterable[Cause]:
    for name, deployment in facts.kubernetes.deployments.items():
        scaled = facts.kubernetes.scaled(name)
        # KEDA starts the first pod.
        rests = scaled is not None and scaled.ours and not scaled.spec.get("minReplicaCount", 0)
        if deployment.paused or not (deployment.wanted or rests):
            state = "is paused" if deployment.paused else "is scaled to 0 replicas"
            yield Cause(
                f"The Deployment {name} {state}.",
                f"Run `kubectl rollout resume deployment/{name}`."
                if deployment.paused
                else f"Run `kubectl scale deployment/{name} --replicas=1`, or let the fix take the replicas over.",
                [f"Deployment {name} {state}", *_differing(facts, name, "spec.replicas:")],
                frozenset({deployment.component}),
            )


@REPLICAS.rule(
    "AKA-823", effects=("AKA-905",), remedy=airflow.everything, link="https://keda.sh/docs/latest/troubleshooting/"
)
def _workers_are_not_scaled(facts: Snapshot) -> Iterable[Cause]:
    """By the ScaledObject's condition Ready; the event of each failure has PostgreSQL's words.

    In a database without tables there is nothing to count, which is AKA-704.
    """
    if facts.backend.database.empty:
        return
    for scaled in facts.kubernetes.autoscalers:
        if scaled.ours and scaled.problem:
            target = scaled.spec["scaleTargetRef"]["name"]
            deployment = facts.kubernetes.deployments.get(target)
            where = f"event of ScaledObject {scaled.name}"
            lines = [line for line in facts.log_lines if line.where == where]
            yield Cause(
                f"KEDA cannot read how many tasks are queued, so it does not scale the Deployment {target}.",
                "Run step 7, which sets what KEDA signs in with. Check that pods in kube-system reach the database.",
                [*lines[-1:], f"ScaledObject {scaled.name}: {scaled.problem}"],
                frozenset({deployment.component}) if deployment else frozenset(),
            )


def _differing(facts: Snapshot, deployment: str, *words: str) -> tuple[str, ...]:
    status = facts.kubernetes.objects.get(f"Deployment {deployment}")
    return status.differing(*words) if status else ()
