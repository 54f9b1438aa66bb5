"""Deletion: at once, by finalizers, by conditions, of collections and of namespaces."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.control_plane import ClusterApi

MERGE = "application/merge-patch+json"


@pytest.fixture
def path(cluster_api: ClusterApi) -> str:
    return f"/api/v1/namespaces/{cluster_api.namespace}/configmaps"


def make(api: ClusterApi, path: str, name: str = "x", **metadata: Any) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    status, answer = api.send("POST", path, body)
    assert status == 201, answer
    return dict(answer)


def test_what_is_deleted_is_gone(cluster_api: ClusterApi, path: str) -> None:
    made = make(cluster_api, path)
    status, answer = cluster_api.send("DELETE", f"{path}/x")
    assert (status, answer["status"]) == (200, "Success")
    assert answer["details"] == {"name": "x", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    assert cluster_api.send("DELETE", f"{path}/x")[0] == 404


def test_a_dry_run_deletes_nothing(cluster_api: ClusterApi, path: str) -> None:
    make(cluster_api, path)
    assert cluster_api.send("DELETE", f"{path}/x?dryRun=All")[0] == 200
    assert cluster_api.send("DELETE", f"{path}/x", {"dryRun": ["All"]})[0] == 200
    assert cluster_api.send("GET", f"{path}/x")[0] == 200


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"preconditions": {"uid": "abc"}}, "the UID in the precondition (abc) does not match the UID in record"),
        (
            {"preconditions": {"resourceVersion": "1"}},
            "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record",
        ),
    ],
)
def test_a_deletion_has_conditions(cluster_api: ClusterApi, path: str, options: dict[str, Any], text: str) -> None:
    make(cluster_api, path)
    status, answer = cluster_api.send("DELETE", f"{path}/x", options)
    assert (status, answer["reason"]) == (409, "Conflict")
    assert text in answer["message"]
    assert cluster_api.send("GET", f"{path}/x")[0] == 200


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"propagationPolicy": "Bad"},
            (
                'propagationPolicy: Unsupported value: "Bad": supported values:'
                ' "Foreground", "Background", "Orphan", "nil"'
            ),
        ),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            'propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
        ),
    ],
)
def test_options_that_make_no_sense(cluster_api: ClusterApi, path: str, options: dict[str, Any], text: str) -> None:
    make(cluster_api, path)
    status, answer = cluster_api.send("DELETE", f"{path}/x", options)
    assert (status, answer["message"]) == (422, f'DeleteOptions.meta.k8s.io "" is invalid: {text}')


def test_finalizers_hold_what_is_deleted(cluster_api: ClusterApi, path: str) -> None:
    make(cluster_api, path, finalizers=["example.com/a", "example.com/b"])
    status, answer = cluster_api.send("DELETE", f"{path}/x")
    assert (status, answer["kind"]) == (200, "ConfigMap")
    since = answer["metadata"]["deletionTimestamp"]
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 0
    assert cluster_api.send("DELETE", f"{path}/x")[1]["metadata"]["deletionTimestamp"] == since
    finalizers = {"metadata": {"finalizers": ["example.com/b"]}}
    assert cluster_api.send("PATCH", f"{path}/x", finalizers, media=MERGE)[0] == 200
    assert cluster_api.send("GET", f"{path}/x")[0] == 200
    assert cluster_api.send("PATCH", f"{path}/x", {"metadata": {"finalizers": None}}, media=MERGE)[0] == 200
    assert cluster_api.send("GET", f"{path}/x")[0] == 404


def test_no_finalizer_comes_to_what_is_deleted(cluster_api: ClusterApi, path: str) -> None:
    make(cluster_api, path, finalizers=["example.com/a"])
    cluster_api.send("DELETE", f"{path}/x")
    more = {"metadata": {"finalizers": ["example.com/a", "example.com/b"]}}
    status, answer = cluster_api.send("PATCH", f"{path}/x", more, media=MERGE)
    assert status == 422
    text = "no new finalizers can be added if the object is being deleted, found new finalizers"
    assert text in answer["message"]
    cluster_api.send("PATCH", f"{path}/x", {"metadata": {"finalizers": None}}, media=MERGE)


def test_a_collection_is_deleted_by_labels(cluster_api: ClusterApi, path: str) -> None:
    for name, tier in (("a", "front"), ("b", "front"), ("c", "back")):
        make(cluster_api, path, name, labels={"tier": tier})
    status, answer = cluster_api.send("DELETE", f"{path}?labelSelector=tier%3Dfront")
    assert (status, answer["kind"]) == (200, "ConfigMapList")
    assert [one["metadata"]["name"] for one in answer["items"]] == ["a", "b"]
    left = cluster_api.send("GET", f"{path}?labelSelector=tier")[1]["items"]
    assert [one["metadata"]["name"] for one in left] == ["c"]


def test_a_pod_without_node_goes_at_once(cluster_api: ClusterApi) -> None:
    pods = f"/api/v1/namespaces/{cluster_api.namespace}/pods"
    spec = {"nodeSelector": {"no": "where"}, "containers": [{"name": "c", "image": "example.com/c"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    assert cluster_api.send("POST", pods, body)[0] == 201
    status, answer = cluster_api.send("DELETE", f"{pods}/p")
    assert (status, answer["kind"]) == (200, "Pod")
    assert cluster_api.send("GET", f"{pods}/p")[0] == 404


def test_a_pod_on_a_node_has_its_grace(cluster_api: ClusterApi) -> None:
    pods = f"/api/v1/namespaces/{cluster_api.namespace}/pods"
    spec = {"nodeName": "elsewhere", "containers": [{"name": "c", "image": "example.com/c"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    assert cluster_api.send("POST", pods, body)[0] == 201
    graces = [
        cluster_api.send("DELETE", f"{pods}/p", options)[1]["metadata"]["deletionGracePeriodSeconds"]
        for options in ({}, {"gracePeriodSeconds": 60}, {"gracePeriodSeconds": 5})
    ]
    assert graces == [30, 30, 5]
    assert cluster_api.send("DELETE", f"{pods}/p", {"gracePeriodSeconds": 0})[0] == 200
    assert cluster_api.send("GET", f"{pods}/p")[0] == 404


def test_the_first_namespaces_stay(cluster_api: ClusterApi) -> None:
    status, answer = cluster_api.send("DELETE", "/api/v1/namespaces/default")
    text = 'namespaces "default" is forbidden: this namespace may not be deleted'
    assert (status, answer["message"]) == (403, text)


def test_a_terminating_namespace_takes_nothing_new_and_goes_when_it_is_empty(
    cluster_api: ClusterApi, path: str
) -> None:
    make(cluster_api, path, "held", finalizers=["example.com/a"])
    space = f"/api/v1/namespaces/{cluster_api.namespace}"
    status, answer = cluster_api.send("DELETE", space)
    assert (status, answer["status"]["phase"]) == (200, "Terminating")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}}
    status, answer = cluster_api.send("POST", path, body)
    name = cluster_api.namespace
    why = f"unable to create new content in namespace {name} because it is being terminated"
    assert (status, answer["message"]) == (403, f'configmaps "late" is forbidden: {why}')
    assert answer["details"]["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {name} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    cluster_api.send("PATCH", f"{path}/held", {"metadata": {"finalizers": None}}, media=MERGE)
    deadline = time.monotonic() + 60
    while cluster_api.send("GET", space)[0] != 404:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    make_again = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert cluster_api.send("POST", "/api/v1/namespaces", make_again)[0] == 201
