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
    taken, refused = set(), []
    for document in map(known, documents(tmp_path, exposed=exposed)):
        path = _path(cluster_api, document)
        if path is None:
            continue
        if "namespace" in document["metadata"]:
            document["metadata"]["namespace"] = cluster_api.namespace
        if cluster_api.side == "control-plane" and document["kind"] == "Deployment":
            # To sleep before it stops is what a container can do since 1.29.
            document["spec"]["template"]["spec"]["containers"][0].pop("lifecycle", None)
        # Pods are refused while their account is not there.
        dry_run = "" if document["kind"] == "ServiceAccount" else "&dryRun=All"
        query = f"?fieldManager=airflowaks&fieldValidation=Strict{dry_run}"
        status, answer = cluster_api.send("PATCH", path + query, document, media=MEDIA)
        taken.add(document["kind"])
        if status not in (200, 201):
            refused.append((document["kind"], document["metadata"]["name"], answer["message"]))
    assert refused == []
    assert {"Deployment", "Job", "ConfigMap", "ServiceAccount", "NetworkPolicy", "StorageClass"} <= taken


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
