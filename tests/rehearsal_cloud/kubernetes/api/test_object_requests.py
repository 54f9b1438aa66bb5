"""Objects one by one: made, read, changed, with the refusals of a real API server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.control_plane import ClusterApi

MERGE = "application/merge-patch+json"


class ConfigMaps:
    """The config maps of a test's namespace."""

    def __init__(self, api: ClusterApi) -> None:
        self.api = api
        self.path = f"/api/v1/namespaces/{api.namespace}/configmaps"

    def create(self, name: str = "x", *, query: str = "", **metadata: Any) -> tuple[int, Any]:
        return self.api.send("POST", self.path + query, document(name, **metadata))

    def made(self, name: str = "x", **metadata: Any) -> dict[str, Any]:
        status, answer = self.create(name, **metadata)
        assert status == 201, answer
        return dict(answer)

    def get(self, name: str = "x") -> tuple[int, Any]:
        return self.api.send("GET", f"{self.path}/{name}")

    def put(self, body: dict[str, Any], name: str = "x", query: str = "") -> tuple[int, Any]:
        return self.api.send("PUT", f"{self.path}/{name}{query}", body)

    def patch(self, body: Any, name: str = "x", query: str = "") -> tuple[int, Any]:
        return self.api.send("PATCH", f"{self.path}/{name}{query}", body, media=MERGE)


def document(name: str = "x", data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": data or {"a": "1"},
    }


@pytest.fixture
def maps(cluster_api: ClusterApi) -> ConfigMaps:
    return ConfigMaps(cluster_api)


def test_what_is_made_has_an_identity(maps: ConfigMaps) -> None:
    made = maps.made()
    metadata = made["metadata"]
    assert metadata["namespace"] == maps.api.namespace
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", metadata["uid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])
    assert maps.get() == (200, made)


def test_a_claim_and_a_volume_are_protected_from_the_start(cluster_api: ClusterApi) -> None:
    """Measured with 1.36: a claim has its finalizer at its creation."""
    size = {"storage": "1Gi"}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": size}}
    volume = {"accessModes": ["ReadWriteOnce"], "capacity": size, "nfs": {"server": "s", "path": "/p"}}
    for path, kind, spec, finalizer in (
        (f"namespaces/{cluster_api.namespace}/persistentvolumeclaims", "PersistentVolumeClaim", claim, "pvc"),
        ("persistentvolumes", "PersistentVolume", volume, "pv"),
    ):
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
        status, answer = cluster_api.send("POST", f"/api/v1/{path}?dryRun=All", body)
        assert (status, answer["metadata"].get("finalizers")) == (201, [f"kubernetes.io/{finalizer}-protection"])


def test_a_name_is_taken_once(maps: ConfigMaps) -> None:
    maps.made()
    status, answer = maps.create()
    assert status == 409
    assert (answer["reason"], answer["message"]) == ("AlreadyExists", 'configmaps "x" already exists')
    assert answer["details"] == {"name": "x", "kind": "configmaps"}


def test_names_are_generated(maps: ConfigMaps) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
    names = {maps.api.send("POST", maps.path, body)[1]["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(re.fullmatch(r"made-[bcdfghjklmnpqrstvwxz2456789]{5}", one) for one in names)


def test_something_must_be_said_of_the_name(maps: ConfigMaps) -> None:
    status, answer = maps.create("")
    assert (status, answer["reason"]) == (422, "Invalid")
    assert "metadata.name: Required value: name or generateName is required" in answer["message"]


def test_who_is_made_has_no_version_yet(maps: ConfigMaps) -> None:
    status, answer = maps.create(resourceVersion="5")
    assert (status, answer["message"]) == (500, "resourceVersion should not be set on objects to be created")


def test_the_namespace_is_that_of_the_path(maps: ConfigMaps) -> None:
    status, answer = maps.create(namespace="other")
    text = "the namespace of the provided object does not match the namespace sent on the request"
    assert (status, answer["reason"], answer["message"]) == (400, "BadRequest", text)


def test_a_namespace_must_be_there(maps: ConfigMaps) -> None:
    status, answer = maps.api.send("POST", "/api/v1/namespaces/nowhere/configmaps", document())
    assert (status, answer["message"]) == (404, 'namespaces "nowhere" not found')
    assert answer["details"] == {"name": "nowhere", "kind": "namespaces"}


def test_what_is_not_there_is_not_found(maps: ConfigMaps) -> None:
    status, answer = maps.get("nothing")
    assert (status, answer["reason"], answer["message"]) == (404, "NotFound", 'configmaps "nothing" not found')


@pytest.mark.parametrize("path", ["/api/v1/nothings", "/apis/apps/v2", "/apis/apps/v1/nothings"])
def test_paths_at_which_nothing_is_served(cluster_api: ClusterApi, path: str) -> None:
    status, answer = cluster_api.send("GET", path)
    assert (status, answer["message"]) == (404, "the server could not find the requested resource")


@pytest.mark.parametrize(("method", "below"), [("POST", "/x"), ("PUT", ""), ("PATCH", "")])
def test_methods_that_mean_nothing_there(maps: ConfigMaps, method: str, below: str) -> None:
    status, answer = maps.api.send(method, maps.path + below, document(), media=MERGE)
    assert status == 405
    assert answer["message"] == "the server does not allow this method on the requested resource"


def test_dry_runs_keep_nothing(maps: ConfigMaps) -> None:
    status, answer = maps.create(query="?dryRun=All")
    assert (status, answer["data"]) == (201, {"a": "1"})
    assert maps.get()[0] == 404
    made = maps.made()
    status, answer = maps.put(document(data={"a": "2"}), query="?dryRun=All")
    assert (status, answer["data"]) == (200, {"a": "2"})
    assert maps.get() == (200, made)


def test_a_dry_run_of_another_sort_is_refused(cluster_api: ClusterApi, maps: ConfigMaps) -> None:
    status, answer = maps.create(query="?dryRun=Some")
    # Measured with 1.36: values are written as JSON, no longer as Go.
    value = '["Some"]' if cluster_api.side == "rehearsal" else '[]string{"Some"}'
    text = f'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: {value}: supported values: "All"'
    assert (status, answer["message"]) == (422, text)


@pytest.mark.parametrize("api_server", ["rehearsal"], indirect=True)
def test_a_field_validation_of_another_sort_is_refused(maps: ConfigMaps) -> None:
    """Measured with 1.36: fieldValidation's list is `"", "Ignore", "Strict", "Warn"`; 1.20 has none."""
    status, answer = maps.create(query="?fieldValidation=Some")
    text = 'fieldValidation: Unsupported value: "Some": supported values: "", "Ignore", "Strict", "Warn"'
    assert (status, answer["message"]) == (422, f'CreateOptions.meta.k8s.io "" is invalid: {text}')


def test_a_stale_update_conflicts(maps: ConfigMaps) -> None:
    made = maps.made()
    assert maps.put(document(data={"a": "2"}))[0] == 200
    status, answer = maps.put({**made, "data": {"a": "3"}})
    text = (
        'Operation cannot be fulfilled on configmaps "x": the object has been modified; please apply your changes to'
        " the latest version and try again"
    )
    assert (status, answer["reason"], answer["message"]) == (409, "Conflict", text)


def test_an_update_of_nothing_is_no_write(maps: ConfigMaps) -> None:
    made = maps.made()
    status, answer = maps.put(document())
    assert (status, answer["metadata"]["resourceVersion"]) == (200, made["metadata"]["resourceVersion"])
    status, answer = maps.patch({"data": {"a": "1"}})
    assert (status, answer["metadata"]["resourceVersion"]) == (200, made["metadata"]["resourceVersion"])


def test_every_write_has_a_greater_version(maps: ConfigMaps) -> None:
    versions = [int(maps.made()["metadata"]["resourceVersion"])]
    versions += [int(maps.patch({"data": {"a": one}})[1]["metadata"]["resourceVersion"]) for one in "234"]
    assert versions == sorted(set(versions))


def test_an_update_of_another_name_is_refused(maps: ConfigMaps) -> None:
    maps.made()
    status, answer = maps.put(document("y"))
    text = "the name of the object (y) does not match the name on the URL (x)"
    assert (status, answer["message"]) == (400, text)


def test_an_update_of_what_is_gone_and_made_again_conflicts(maps: ConfigMaps) -> None:
    maps.made()
    status, answer = maps.put(document(uid="11111111-1111-4111-8111-111111111111"))
    assert (status, answer["reason"]) == (409, "Conflict")
    assert "Precondition failed: UID in precondition: 11111111-1111-4111-8111-111111111111" in answer["message"]


def test_an_update_makes_nothing(maps: ConfigMaps) -> None:
    status, answer = maps.put(document("y"), "y")
    assert (status, answer["message"]) == (404, 'configmaps "y" not found')


def test_a_patch_may_insist_on_a_version(maps: ConfigMaps) -> None:
    maps.made()
    status, answer = maps.patch({"metadata": {"resourceVersion": "1"}, "data": {"a": "2"}})
    assert (status, answer["reason"]) == (409, "Conflict")


def test_the_servers_part_of_an_object_is_the_servers(maps: ConfigMaps) -> None:
    made = maps.made()
    status, answer = maps.put(document(data={"a": "2"}, creationTimestamp="2001-01-01T00:00:00Z"))
    assert (status, answer["data"]) == (200, {"a": "2"})
    assert answer["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    status, answer = maps.put(document(deletionTimestamp="2001-01-01T00:00:00Z"))
    assert status == 422
    assert "metadata.deletionTimestamp: Invalid value" in answer["message"]


def test_bodies_that_are_no_objects(maps: ConfigMaps) -> None:
    status, answer = maps.api.send("POST", maps.path, json.dumps(document()), media="text/plain")
    assert (status, answer["reason"]) == (415, "UnsupportedMediaType")


# Status, scale, generation


def deployment(replicas: int = 0, **metadata: Any) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "example.com/web"}]}}
    spec = {"replicas": replicas, "paused": True, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", **metadata}, "spec": spec}


@pytest.fixture
def web(cluster_api: ClusterApi) -> str:
    """The path of a deployment."""
    path = f"/apis/apps/v1/namespaces/{cluster_api.namespace}/deployments"
    status, answer = cluster_api.send("POST", path, deployment())
    assert (status, answer["metadata"]["generation"]) == (201, 1)
    return f"{path}/web"


def test_the_generation_counts_changes_of_the_wish(cluster_api: ClusterApi, web: str) -> None:
    generations = [
        cluster_api.send("PATCH", web, body, media=MERGE)[1]["metadata"]["generation"]
        for body in (
            {"metadata": {"labels": {"a": "b"}}},
            {"spec": {"minReadySeconds": 1}},
            {"spec": {"minReadySeconds": 1}},
            {"metadata": {"annotations": {"a": "b"}}},
        )
    ]
    assert [one - generations[0] for one in generations] == [0, 1, 1, 2]


def test_a_status_is_written_on_its_own(cluster_api: ClusterApi, web: str) -> None:
    wished = {"spec": {"replicas": 5}, "status": {"replicas": 7}}
    status, answer = cluster_api.send("PATCH", f"{web}/status", wished, media=MERGE)
    assert (status, answer["spec"]["replicas"]) == (200, 0)
    status, answer = cluster_api.send("PATCH", web, {"status": {"replicas": 9}}, media=MERGE)
    assert (status, answer["status"].get("replicas")) != (200, 9)


def test_a_scale_shows_and_sets_replicas(cluster_api: ClusterApi, web: str) -> None:
    status, scale = cluster_api.send("GET", f"{web}/scale")
    assert (status, scale["kind"], scale["spec"]) == (200, "Scale", {})
    assert scale["status"]["selector"] == "app=web"
    scale["spec"]["replicas"] = 2
    scale["metadata"].pop("resourceVersion")
    status, scale = cluster_api.send("PUT", f"{web}/scale", scale)
    assert (status, scale["spec"]) == (200, {"replicas": 2})
    assert cluster_api.send("GET", web)[1]["spec"]["replicas"] == 2
    status, answer = cluster_api.send("PATCH", f"{web}/scale", {"spec": {"replicas": -1}}, media=MERGE)
    text = 'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    assert (status, answer["message"]) == (422, text)
