"""The runbook's own manifests, as dry runs of the server-side applies that the steps make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.step_manifests import documents, known

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.control_plane import ClusterApi

MEDIA = "application/apply-patch+yaml"


@pytest.mark.parametrize("exposed", [False, True])
def test_a_server_takes_every_manifest_whose_kind_it_knows(
    cluster_api: ClusterApi, tmp_path: Path, *, exposed: bool
) -> None:
    """Measured with 1.36: all objects apply strictly, without a warning, under PodSecurity `restricted`."""
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    path = f"/api/v1/namespaces/{cluster_api.namespace}"
    assert cluster_api.send("PATCH", path, labels, media="application/merge-patch+json")[0] == 200
    taken, refused = set(), []
    for document in map(known, documents(tmp_path, exposed=exposed)):
        path = _path(cluster_api, document)
        if path is None:
            continue
        if "namespace" in document["metadata"]:
            document["metadata"]["namespace"] = cluster_api.namespace
        _made_older(cluster_api, document)
        # Pods are refused while their account is not there.
        dry_run = "" if document["kind"] == "ServiceAccount" else "&dryRun=All"
        query = f"?fieldManager=airflowaks&fieldValidation=Strict{dry_run}"
        status, answer, headers = cluster_api.exchange("PATCH", path + query, document, media=MEDIA)
        taken.add(document["kind"])
        if status not in (200, 201):
            refused.append((document["kind"], document["metadata"]["name"], answer["message"]))
        elif "warning" in headers:
            refused.append((document["kind"], document["metadata"]["name"], headers["warning"]))
    assert refused == []
    assert {"Deployment", "Job", "ConfigMap", "ServiceAccount", "NetworkPolicy", "StorageClass"} <= taken


def _made_older(cluster_api: ClusterApi, document: Any) -> None:
    """Take from a Deployment what the older server does not know.

    To sleep before it stops came with 1.29; which pods and nodes count for a spread with 1.25.
    """
    if cluster_api.side == "control-plane" and document["kind"] == "Deployment":
        spec = document["spec"]["template"]["spec"]
        spec["containers"][0].pop("lifecycle", None)
        for constraint in spec["topologySpreadConstraints"]:
            constraint.pop("matchLabelKeys", None)
            constraint.pop("nodeTaintsPolicy", None)


def _path(cluster_api: ClusterApi, document: Any) -> str | None:
    """The object's path, or None where the server does not know its kind (the real one is older)."""
    version = document["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    status, found = cluster_api.send("GET", root)
    kinds = {one["kind"]: one for one in found["resources"] if "/" not in one["name"]} if status == 200 else {}
    if document["kind"] not in kinds:
        return None
    kind = kinds[document["kind"]]
    scope = f"/namespaces/{cluster_api.namespace}" if kind["namespaced"] else ""
    return f"{root}{scope}/{kind['name']}/{document['metadata']['name']}"


def test_a_second_apply_changes_no_generation(cluster_api: ClusterApi, tmp_path: Path) -> None:
    """Measured on a 1.36 control plane: the NetworkPolicy `airflow` gained a generation on every re-apply."""
    for document in map(known, documents(tmp_path)):
        if document["kind"] == "Pod" or "namespace" not in document["metadata"] or not _path(cluster_api, document):
            continue
        _made_older(cluster_api, document)
        first, second = (_generation(cluster_api, document) for _ in range(2))
        assert first == second, document["metadata"]["name"]


def test_an_empty_list_of_a_policys_rules_is_a_change_each_time(cluster_api: ClusterApi) -> None:
    """The stored object has no such field, and an empty list is not a missing one."""
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed", "namespace": cluster_api.namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []},
    }
    assert [_generation(cluster_api, policy) for _ in range(3)] == [1, 2, 3]


def _generation(cluster_api: ClusterApi, document: Any) -> int | None:
    document["metadata"]["namespace"] = cluster_api.namespace
    path = f"{_path(cluster_api, document)}?fieldManager=airflowaks"
    status, answer = cluster_api.send("PATCH", path, document, media=MEDIA)
    assert status in (200, 201), answer
    assert answer.get("spec", {}).get("ingress") != []
    generation: int | None = answer["metadata"].get("generation")
    return generation
