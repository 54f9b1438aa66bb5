"""StatefulSets: pods in their order, with claims of their own, here and on a real control plane."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.workspace import Document, Workspace, template


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def run(space: Workspace, replicas: int = 2, **spec: Any) -> Document:
    fields = {"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}}
    return space.create("StatefulSet", "db", spec={**fields, "template": template("db"), **spec})


def names(space: Workspace) -> list[str]:
    return [pod["metadata"]["name"] for pod in space.pods(app="db")]


def make_ready(space: Workspace, name: str) -> None:
    space.say(space.eventually(lambda: space.find("Pod", name)), "Running", ready=True)


def image(space: Workspace, name: str) -> str:
    found = space.find("Pod", name)
    return found["spec"]["containers"][0]["image"] if found else ""


def test_pods_come_one_after_the_other_and_go_in_reverse(space: Workspace) -> None:
    run(space)
    space.eventually(lambda: names(space) == ["db-0"])
    space.steadily(lambda: names(space) == ["db-0"], 0.5)
    make_ready(space, "db-0")
    space.eventually(lambda: names(space) == ["db-0", "db-1"])
    make_ready(space, "db-1")
    space.eventually(lambda: space.get("StatefulSet", "db")["status"].get("readyReplicas") == 2)
    space.patch("StatefulSet", "db", {"spec": {"replicas": 1}})
    space.eventually(lambda: names(space) == ["db-0"])


def test_pods_have_names_in_the_network_and_of_their_own(space: Workspace) -> None:
    run(space, 1)
    pod = space.eventually(lambda: space.find("Pod", "db-0"))
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-0", "db")
    labels = pod["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "db-0"
    status = space.eventually(lambda: space.get("StatefulSet", "db")["status"].get("updateRevision"))
    assert labels["controller-revision-hash"] == status


def test_parallel_pods_wait_for_none(space: Workspace) -> None:
    run(space, 3, podManagementPolicy="Parallel")
    space.eventually(lambda: names(space) == ["db-0", "db-1", "db-2"])


def test_each_pod_has_its_claim_which_outlives_it(space: Workspace) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    run(space, 1, volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": claim}])
    pod = space.eventually(lambda: space.find("Pod", "db-0"))
    volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == "data-db-0"
    assert space.get("PersistentVolumeClaim", "data-db-0")["metadata"]["labels"] == {"app": "db"}
    space.patch("StatefulSet", "db", {"spec": {"replicas": 0}})
    space.eventually(lambda: names(space) == [])
    assert "deletionTimestamp" not in space.get("PersistentVolumeClaim", "data-db-0")["metadata"]


def test_an_update_replaces_the_last_pod_first_and_waits_for_it(space: Workspace) -> None:
    run(space)
    for name in ("db-0", "db-1"):
        make_ready(space, name)
    space.eventually(lambda: space.get("StatefulSet", "db")["status"].get("readyReplicas") == 2)
    change = [{"name": "main", "image": "example.com/db:2"}]
    space.patch("StatefulSet", "db", {"spec": {"template": {"spec": {"containers": change}}}})
    space.eventually(lambda: image(space, "db-1") == "example.com/db:2")
    space.steadily(lambda: image(space, "db-0") == "example.com/web:1", 0.5)
    make_ready(space, "db-1")
    space.eventually(lambda: image(space, "db-0") == "example.com/db:2")
    make_ready(space, "db-0")

    def through() -> bool:
        status = space.get("StatefulSet", "db")["status"]
        return bool(status["currentRevision"] == status["updateRevision"])

    space.eventually(through)


def test_an_update_stops_at_its_partition(space: Workspace) -> None:
    run(space, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    for name in ("db-0", "db-1"):
        make_ready(space, name)
    space.eventually(lambda: space.get("StatefulSet", "db")["status"].get("readyReplicas") == 2)
    change = [{"name": "main", "image": "example.com/db:2"}]
    space.patch("StatefulSet", "db", {"spec": {"template": {"spec": {"containers": change}}}})
    space.eventually(lambda: image(space, "db-1") == "example.com/db:2")
    make_ready(space, "db-1")
    space.steadily(lambda: image(space, "db-0") == "example.com/web:1", 0.5)
