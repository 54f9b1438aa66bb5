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
