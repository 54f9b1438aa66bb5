"""Drills of what surrounds Airflow in the cluster: policies, autoscalers, DNS, clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.engine.polling import wait_until
from airflowaks.kube.client import Reference
from tests.support.deployed import NAMESPACE
from tests.support.drills.drill import BY_HAND, Drills, deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Scene

SURROUNDINGS = Drills()
_COMPONENT = "triggerer"
_SCALE_SECONDS = 60


def _create(scene: Scene, api_version: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    """Create an object as `kubectl create` does."""
    reference = Reference(api_version, kind, "", NAMESPACE)
    document = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
    scene.kube.request("POST", scene.kube.path(reference), {"fieldManager": BY_HAND}, document)


@SURROUNDINGS.drill("AKA-817", fast=True)
def all_traffic_of_the_namespace_is_denied(scene: Scene) -> Iterator[None]:
    """Airflow goes on, as policies add up; the runbook's way to database and broker is cut."""
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    _create(scene, "networking.k8s.io/v1", "NetworkPolicy", "deny-all", spec)
    yield


@SURROUNDINGS.drill("AKA-818")
def somebody_scales_a_deployment_automatically(scene: Scene) -> Iterator[None]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"airflow-{_COMPONENT}"}
    spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3}
    _create(scene, "autoscaling/v2", "HorizontalPodAutoscaler", "somebodys", spec)
    found = lambda: (scene.kube.get(deployment(_COMPONENT)) or {})["spec"]["replicas"]  # noqa: E731
    wait_until(found, lambda replicas: replicas == 2, _SCALE_SECONDS, longest_pause=1)
    yield


@SURROUNDINGS.drill("AKA-819", also=("AKA-004",))
def no_name_is_resolved(scene: Scene) -> Iterator[None]:
    scene.break_down("dns")
    yield
    scene.serve()


@SURROUNDINGS.drill("AKA-820")
def the_clocks_of_the_nodes_are_ahead(scene: Scene) -> Iterator[None]:
    scene.break_down("clock", seconds=240)
    yield
    scene.serve()
