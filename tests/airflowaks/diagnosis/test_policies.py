"""What policies cut beside those of the manifests: Airflow's own traffic stays, as policies add up."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from airflowaks.diagnosis.facts.kubernetes import Authored
from airflowaks.diagnosis.rules.policies import FLOWS, cuts
from tests.support.repository import REPOSITORY

OURS = [
    Authored("NetworkPolicy", document["metadata"]["name"], document["spec"], ours=True)
    for file in ("network-policies.yaml", "exposed/web.yaml")
    for document in yaml.safe_load_all((REPOSITORY / "manifests/07_airflow" / file).read_text(encoding="utf-8"))
    if document["kind"] == "NetworkPolicy"
]
ALL = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
TUNNELS = {"the runbook's pod to PostgreSQL", "the runbook's pod to the broker"}
TUNNEL = {"runbook's pod to the cluster's DNS", "runbook's pod to PostgreSQL", "runbook's pod to the broker"}


def cut(spec: dict[str, Any], ours: list[Authored] = OURS) -> set[str]:
    found = cuts([*ours, Authored("NetworkPolicy", "somebodys", spec)], {})
    return {flow.what.removeprefix("the ") for _, flows in found for flow in flows}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(ALL, TUNNEL, id="all is denied"),
        pytest.param({**ALL, "egress": [{}]}, set(), id="nothing but what comes in is denied"),
        pytest.param({"podSelector": {}, "egress": []}, TUNNEL, id="its types follow from its rules"),
        pytest.param({"podSelector": {}}, set(), id="what comes in is denied"),
        pytest.param(
            {**ALL, "egress": [{"ports": [{"port": 443}, {"port": 53, "protocol": "UDP"}]}]},
            TUNNEL - {"runbook's pod to the cluster's DNS"},
            id="only web and DNS go out",
        ),
        pytest.param(
            {**ALL, "egress": [{"to": [{"namespaceSelector": {}}]}]},
            TUNNEL - {"runbook's pod to the cluster's DNS"},
            id="nothing leaves the cluster",
        ),
        pytest.param(
            {"podSelector": {"matchLabels": {"app": "grafana"}}, "policyTypes": ["Egress"]}, set(), id="others"
        ),
    ],
)
def test_what_is_cut_beside_our_policies(spec: dict[str, Any], expected: set[str]) -> None:
    assert cut(spec) == expected


def test_all_is_cut_where_our_policies_are_gone() -> None:
    assert len(cut(ALL, [])) == len({flow.what for flow in FLOWS})


def test_our_policies_alone_cut_nothing() -> None:
    assert cuts(OURS, {}) == []


DENIED = {"endpointSelector": {}, "egressDeny": [{"toEntities": ["world"]}], "egress": [{"toEntities": ["all"]}]}
WORKERS = {"matchLabels": {"k8s:app.kubernetes.io/component": "worker"}}
TO_API = {
    "toEndpoints": [{"matchLabels": {"app.kubernetes.io/component": "api-server"}}],
    "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}]}],
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(DENIED, {one.what for one in FLOWS if one.target == "outside"}, id="the world is denied"),
        pytest.param(
            {"endpointSelector": WORKERS, "egressDeny": [TO_API]},
            {"tasks and triggers to the api-server"},
            id="one port of one component is denied",
        ),
        pytest.param({"endpointSelector": WORKERS, "egress": [TO_API]}, set(), id="what it allows adds up"),
        pytest.param(
            {"endpointSelector": {}, "egress": [{"toFQDNs": [{"matchName": "a.example"}]}]},
            {"the runbook's pod to the cluster's DNS"},
            id="only names are allowed",
        ),
        pytest.param(
            {
                "endpointSelector": {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "Exists"}]},
                "egressDeny": [
                    {
                        "toEndpoints": [
                            {"matchLabels": {"io.kubernetes.pod.namespace": "kube-system", "k8s-app": "kube-dns"}}
                        ]
                    }
                ],
            },
            {one.what for one in FLOWS if one.target == "dns"} | TUNNELS,
            id="the cluster's DNS is denied",
        ),
    ],
)
def test_what_a_policy_of_ciliums_cuts(spec: dict[str, Any], expected: set[str]) -> None:
    found = cuts([*OURS, Authored("CiliumNetworkPolicy", "somebodys", spec)], {})
    assert {flow.what for _, flows in found for flow in flows} == expected
