"""Workers of queues that the environment names: on which nodes, with which selectors, and gone with their queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.engine.changes import Action
from airflowaks.engine.removal import remove
from airflowaks.errors import InvalidEnvironment
from airflowaks.steps import workers
from tests.support.step_manifests import documents
from tests.support.world import Existing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.world import World

POOLS = """
cluster:
  system_pool: {}
  spot_pool: {}
"""
QUEUES = """
airflow:
  queues:
    reports: {min_count: 1, concurrency: 2}
    batch: {spot: true, cpu: "4", memory: 8Gi}
"""
COMPONENT = "app.kubernetes.io/component"


def named(made: list[Any], kind: str) -> dict[str, Any]:
    return {each["metadata"]["name"]: each for each in made if each["kind"] == kind}


def test_each_queue_has_workers_of_its_own(tmp_path: Path) -> None:
    made = documents(tmp_path, settings=POOLS + QUEUES)
    deployments = named(made, "Deployment")
    workers_of = {name: each for name, each in deployments.items() if name.startswith("airflow-worker")}
    assert list(workers_of) == ["airflow-worker", "airflow-worker-reports", "airflow-worker-batch"]
    for (name, deployment), queue in zip(workers_of.items(), ("default", "reports", "batch"), strict=True):
        spec = deployment["spec"]["template"]["spec"]
        pool = "spot" if queue == "batch" else "airflow"
        assert f"--queues={queue}" in spec["containers"][0]["command"]
        assert spec["nodeSelector"] == {"kubernetes.azure.com/agentpool": pool}
        assert [each["value"] for each in spec.get("tolerations", ())] == (["spot"] if pool == "spot" else [])
        scaled = named(made, "ScaledObject")[name]["spec"]
        assert scaled["scaleTargetRef"] == {"name": name}
        assert scaled["triggers"][0]["metadata"]["query"].endswith(f"AND queue = '{queue}'")
        assert name in named(made, "PodDisruptionBudget")
    assert all(each["spec"]["template"]["spec"]["nodeSelector"] for each in deployments.values())


def test_no_pod_of_a_queue_is_selected_by_another_deployment(tmp_path: Path) -> None:
    """Neither of two autoscalers whose selectors overlap scales: https://github.com/kubernetes/kubernetes/pull/112011."""
    deployments = named(documents(tmp_path, settings=POOLS + QUEUES), "Deployment")
    selectors = [tuple(each["spec"]["selector"]["matchLabels"].items()) for each in deployments.values()]
    for deployment in deployments.values():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert sum(set(selector) <= labels.items() for selector in selectors) == 1


def test_logs_of_all_workers_may_be_fetched(tmp_path: Path) -> None:
    policy = named(documents(tmp_path, settings=POOLS + QUEUES), "NetworkPolicy")["airflow-logs"]
    (expression,) = policy["spec"]["podSelector"]["matchExpressions"]
    assert expression["values"] == ["worker", "worker-reports", "worker-batch", "triggerer"]


@pytest.mark.parametrize(("zones", "spread"), [("[1, 2, 3]", "DoNotSchedule"), ("[1]", "ScheduleAnyway")])
def test_replicas_are_in_different_zones_where_there_are_some(tmp_path: Path, zones: str, spread: str) -> None:
    deployments = named(documents(tmp_path, settings=f"cluster: {{node_pool: {{zones: {zones}}}}}"), "Deployment")
    constraints = {
        name: each["spec"]["template"]["spec"]["topologySpreadConstraints"][0] for name, each in deployments.items()
    }
    assert constraints.pop("airflow-worker")["whenUnsatisfiable"] == "ScheduleAnyway"
    assert {each["whenUnsatisfiable"] for each in constraints.values()} == {spread}
    # Else a roll-out waits for the pods that it replaces, and a drain for the node that it empties.
    assert all(each["matchLabelKeys"] == ["pod-template-hash"] for each in constraints.values())
    assert all(each["nodeTaintsPolicy"] == "Honor" for each in constraints.values())


def test_one_pool_ties_no_pod_to_it(tmp_path: Path) -> None:
    deployments = named(documents(tmp_path), "Deployment")
    assert not any("nodeSelector" in each["spec"]["template"]["spec"] for each in deployments.values())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (QUEUES, "queues.batch has spot: true, and the cluster has no pool of spot machines"),
        ("airflow: {queues: {default: {}}}", "this name is reserved"),
        ("airflow: {queues: {Big_One: {}}}", "use lower-case letters, digits and hyphens between them"),
        ("cluster: {spot_pool: {name: airflow}}", '"airflow" is also the name of node_pool; use another name'),
    ],
)
def test_what_no_queue_or_pool_may_be_is_refused(tmp_path: Path, settings: str, problem: str) -> None:
    with pytest.raises(InvalidEnvironment) as refused:
        documents(tmp_path, settings=settings)
    assert problem in refused.value.message


@pytest.mark.broad
def test_workers_go_with_their_queue(world: World) -> None:
    labels = "{app.kubernetes.io/name: airflow, app.kubernetes.io/component: worker-old}"
    world.apply(f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: airflow-worker-old, namespace: "${{NAMESPACE}}", labels: {labels}}}
spec:
  replicas: 0
  selector: {{matchLabels: {labels}}}
  template:
    metadata: {{labels: {labels}}}
    spec: {{containers: [{{name: worker, image: "docker.io/library/python:3.13"}}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: airflow-worker-old, namespace: "${{NAMESPACE}}", labels: {labels}}}
spec: {{maxUnavailable: 1, selector: {{matchLabels: {labels}}}}}
""")
    values = dict.fromkeys(("IMAGE", "CONFIGURATION", "WORKER_SECRETS", "LONGEST_TASK_SECONDS", "ZONE_SPREAD"), "1")

    def removed(mode: Any) -> dict[tuple[str, str], Action]:
        session = world.session(mode)
        namespace = Existing(session, world.namespace)
        objects = workers.removed(session, values | {"NAMESPACE": world.namespace}, namespace)
        return {(each.kind, each.name): each.action for each in remove(session, *objects)}

    gone = {(kind, "airflow-worker-old"): Action.DELETE for kind in ("PodDisruptionBudget", "Deployment")}
    expected = {("ScaledObject", "airflow-worker-old"): Action.NONE, **gone}
    assert removed("plan") == removed("apply") == expected
    assert removed("check") == {}
