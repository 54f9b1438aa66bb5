"""A required spread over zones: which nodes and pods count, so that a drain and a roll-out go on.

https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints
"""

from __future__ import annotations

from typing import Any

from rehearsal_cloud.kubernetes.controllers.node_fit import reasons

ZONE, HASH, APP = "topology.kubernetes.io/zone", "pod-template-hash", {"app": "web"}
CONSTRAINT = {
    "topologyKey": ZONE,
    "maxSkew": 1,
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": APP},
}
SPREAD = ["node(s) didn't match pod topology spread constraints"]


def node(zone: int, **spec: Any) -> dict[str, Any]:
    labels = {ZONE: f"westeurope-{zone}", "pool": "system" if "taints" in spec else "airflow"}
    allocatable = {"pods": "110"}
    return {
        "metadata": {"name": f"node-{zone}", "labels": labels},
        "spec": spec,
        "status": {"allocatable": allocatable},
    }


def pod(zone: int = 0, template: str = "1", **constraint: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "airflow", "labels": {**APP, HASH: template}}
    spec = {"containers": [{}], "topologySpreadConstraints": [CONSTRAINT | constraint]}
    return {"metadata": metadata, "spec": {**spec, **({"nodeName": f"node-{zone}"} if zone else {})}}


def fits(new: dict[str, Any], nodes: list[dict[str, Any]], placed: list[int]) -> list[list[str]]:
    """Return for each node why it cannot take a pod beside those in the zones."""
    return [reasons(new, each, [pod(zone) for zone in placed], nodes) for each in nodes]


def test_the_zone_with_the_fewest_pods_is_next() -> None:
    assert fits(pod(), [node(1), node(2), node(3)], [1, 2]) == [SPREAD, SPREAD, []]


def test_the_pods_of_a_drained_zone_go_elsewhere_where_taints_are_honoured() -> None:
    nodes = [node(1, unschedulable=True), node(2), node(3)]
    left = [1, 2, 2, 3, 3]
    assert fits(pod(), nodes, left)[1:] == [SPREAD, SPREAD]
    assert fits(pod(nodeTaintsPolicy="Honor"), nodes, left)[1:] == [[], []]


def test_nodes_that_a_pod_may_not_be_on_do_not_count() -> None:
    taint = {"key": "CriticalAddonsOnly", "value": "true", "effect": "NoSchedule"}
    nodes = [node(1), node(2), node(3, taints=[taint])]
    assert fits(pod(), nodes, [1, 2])[:2] == [SPREAD, SPREAD]
    assert fits(pod(nodeTaintsPolicy="Honor"), nodes, [1, 2])[:2] == [[], []]
    selecting = pod()
    selecting["spec"]["nodeSelector"] = {"pool": "airflow"}
    assert fits(selecting, nodes, [1, 2])[:2] == [[], []]
    selecting = pod(nodeAffinityPolicy="Ignore")
    selecting["spec"]["nodeSelector"] = {"pool": "airflow"}
    assert fits(selecting, nodes, [1, 2])[:2] == [SPREAD, SPREAD]


def test_the_pods_of_a_roll_out_are_spread_among_themselves() -> None:
    nodes = [node(1), node(2), node(3)]
    assert fits(pod(template="2"), nodes, [1, 2]) == [SPREAD, SPREAD, []]
    assert fits(pod(template="2", matchLabelKeys=[HASH]), nodes, [1, 2]) == [[], [], []]
