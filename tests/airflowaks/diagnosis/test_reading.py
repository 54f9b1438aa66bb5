"""What is read of a Deployment that fails and of what surrounds it, and what the rules say of that."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.diagnosis.facts.kubernetes import Kubernetes
from airflowaks.diagnosis.facts.snapshot import Snapshot
from airflowaks.diagnosis.readers.kubernetes import workloads
from airflowaks.diagnosis.readers.scope import Scope
from airflowaks.diagnosis.readers.surroundings import surroundings
from airflowaks.diagnosis.rules.registry import RULES
from airflowaks.kube.client import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.diagnosis.finding import Finding
    from tests.support.world import World

LABELS = "app.kubernetes.io/name: airflow, app.kubernetes.io/component: triggerer"
IMAGE = "docker.io/library/python:3.13"
TRIGGERER = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: airflow-triggerer, namespace: "${{NAMESPACE}}", labels: {{{LABELS}}}}}
spec:
  selector: {{matchLabels: {{{LABELS}}}}}
  template:
    metadata: {{labels: {{{LABELS}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: triggerer, image: "{IMAGE}", command: [python, -c, "import time; time.sleep(600)"]}}]
"""
STRATEGIC = "application/strategic-merge-patch+json"
SECONDS = 60


@pytest.fixture
def deployment(world: World) -> Reference:
    *_, deployment = world.apply(TRIGGERER)
    return deployment.reference


def edit(world: World, deployment: Reference, manager: str, **spec: Any) -> None:
    body = {"spec": {"template": {"spec": spec}}}
    world.kube.request("PATCH", world.kube.path(deployment), {"fieldManager": manager}, body, STRATEGIC)


def found(world: World, rule: str, *readers: Callable[..., dict[str, Any]]) -> Finding:
    """The finding of a rule, as soon as it is there."""
    scope = Scope(datetime.now(UTC).replace(year=2020), world.namespace)
    deadline = time.monotonic() + SECONDS
    while True:
        facts = Kubernetes()
        for reader in readers:
            facts = replace(facts, **reader(world.session("plan"), scope))
        if findings := RULES[rule].findings(Snapshot(kubernetes=facts)):
            return findings[0]
        assert time.monotonic() < deadline, facts
        time.sleep(0.2)


def test_an_image_that_does_not_start_is_named_with_the_one_before(world: World, deployment: Reference) -> None:
    broken = "docker.io/library/python:none-such"
    edit(world, deployment, "kubectl-set", containers=[{"name": "triggerer", "image": broken}])
    finding = found(world, "AKA-821", workloads)
    assert finding.evidence == (f"image: {IMAGE} → {broken}",)
    assert finding.components == {"triggerer"}
    assert finding.remedy is not None


def test_the_label_that_no_node_has_is_named(world: World, deployment: Reference) -> None:
    edit(world, deployment, "kubectl-edit", nodeSelector={"disk": "ssd"})
    finding = found(world, "AKA-806", workloads)
    assert finding.cause == "A pod is unschedulable: its nodeSelector asks for the label disk=ssd."
    assert finding.evidence[0].endswith(": its nodeSelector asks for the label disk=ssd")


def test_somebody_elses_autoscaler_is_named_with_who_made_it(world: World, deployment: Reference) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name}
    spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3}
    kind = Reference("autoscaling/v2", "HorizontalPodAutoscaler", "", world.namespace)
    document = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "theirs"}, "spec": spec}
    world.kube.request("POST", world.kube.path(kind), {"fieldManager": "kubectl-autoscale"}, document)
    finding = found(world, "AKA-818", workloads, surroundings)
    assert "HorizontalPodAutoscaler theirs, which no step of the runbook made, scales" in finding.cause
    assert "made by kubectl-autoscale at 20" in finding.evidence[0]
