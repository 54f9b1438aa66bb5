"""Deployments and ReplicaSets: the same roll-outs, on the rehearsal's cluster and on a real control plane."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.workspace import Document, Workspace, template

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.broad

REVISION = "deployment.kubernetes.io/revision"


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def deploy(space: Workspace, replicas: int = 3, image: str = "example.com/web:1", **spec: Any) -> Document:
    selector = {"matchLabels": {"app": "web"}}
    fields = {"replicas": replicas, "selector": selector, "template": template("web", image), **spec}
    return space.create("Deployment", "web", spec=fields)


def rolling(surge: int | str, unavailable: int | str) -> Document:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def change_image(space: Workspace, image: str) -> None:
    containers = [{"name": "main", "image": image}]
    space.patch("Deployment", "web", {"spec": {"template": {"spec": {"containers": containers}}}})


def sizes(space: Workspace) -> dict[str, int]:
    """Return how many replicas each revision asks for."""
    sets = space.list("ReplicaSet")
    return {one["metadata"]["annotations"][REVISION]: one["spec"]["replicas"] for one in sets}


def images(space: Workspace) -> dict[str, str]:
    sets = space.list("ReplicaSet")
    return {
        one["metadata"]["annotations"][REVISION]: one["spec"]["template"]["spec"]["containers"][0]["image"]
        for one in sets
    }


def condition(document: Document, kind: str) -> Document:
    found = [one for one in document.get("status", {}).get("conditions", ()) if one["type"] == kind]
    return found[0] if found else {}


def is_done(space: Workspace) -> bool:
    found = space.get("Deployment", "web")
    status = found["status"]
    return (
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) == found["spec"]["replicas"]
        and status.get("availableReplicas", 0) == found["spec"]["replicas"]
    )


def roll_out(space: Workspace) -> None:
    """Make pods ready as they come until the roll-out is done."""

    def step() -> bool:
        space.make_ready(app="web")
        return is_done(space)

    space.eventually(step)


def until(space: Workspace, wanted: dict[str, int]) -> None:
    space.eventually(lambda: sizes(space) == wanted)


@pytest.mark.parametrize("api_server", ["rehearsal"], indirect=True)
def test_terminating_pods_are_counted(space: Workspace) -> None:
    """Measured with 1.36: `status.terminatingReplicas`, which 1.20 does not have."""
    held = template("web")
    held["metadata"]["finalizers"] = ["example.com/wait"]
    deploy(space, 1, template=held)

    def counts() -> list[int | None]:
        documents = [*space.list("Deployment"), *space.list("ReplicaSet")]
        return [document["status"].get("terminatingReplicas") for document in documents]

    space.eventually(lambda: len(space.pods(app="web")) == 1 and counts() == [0, 0])
    space.patch("Deployment", "web", {"spec": {"replicas": 0}})
    space.eventually(lambda: counts() == [1, 1])
    (pod,) = space.pods(app="web")
    change = [{"op": "remove", "path": "/metadata/finalizers"}]
    space.call("PATCH", space.path("Pod", pod["metadata"]["name"]), change, "application/json-patch+json")
    space.eventually(lambda: counts() == [0, 0])


def test_a_deployment_makes_a_replica_set_of_its_template(space: Workspace) -> None:
    deployment = deploy(space)
    space.eventually(lambda: len(space.pods(app="web")) == 3)
    (replica_set,) = space.list("ReplicaSet")
    # Measured with 1.36: the annotation of the revision is no new generation.
    assert space.get("Deployment", "web")["metadata"]["generation"] == 1
    metadata = replica_set["metadata"]
    hashed = metadata["labels"]["pod-template-hash"]
    assert metadata["name"] == f"web-{hashed}"
    assert metadata["labels"] == {"app": "web", "pod-template-hash": hashed}
    assert replica_set["spec"]["selector"] == {"matchLabels": metadata["labels"]}
    assert replica_set["spec"]["template"]["metadata"]["labels"] == metadata["labels"]
    assert metadata["annotations"] == {
        REVISION: "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    }
    (owner,) = metadata["ownerReferences"]
    assert owner == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "web",
        "uid": deployment["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert set(hashed) <= set("bcdfghjklmnpqrstvwxz2456789")


def test_pods_are_named_labelled_and_owned_by_their_replica_set(space: Workspace) -> None:
    deploy(space, replicas=1)
    (pod,) = space.eventually(lambda: space.pods(app="web"))
    (replica_set,) = space.list("ReplicaSet")
    name = replica_set["metadata"]["name"]
    assert pod["metadata"]["generateName"] == f"{name}-"
    assert len(pod["metadata"]["name"]) == len(name) + 6
    assert pod["metadata"]["labels"] == replica_set["metadata"]["labels"]
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ReplicaSet", name, True)


def test_conditions_of_a_roll_out_that_succeeds(space: Workspace) -> None:
    deploy(space, replicas=1)
    before = space.eventually(lambda: condition(space.get("Deployment", "web"), "Available"))
    assert (before["status"], before["reason"]) == ("False", "MinimumReplicasUnavailable")
    assert before["message"] == "Deployment does not have minimum availability."
    roll_out(space)
    deployment = space.eventually(
        lambda: (
            one
            if condition(one := space.get("Deployment", "web"), "Progressing")["reason"] == "NewReplicaSetAvailable"
            else None
        )
    )
    available, progressing = condition(deployment, "Available"), condition(deployment, "Progressing")
    assert (available["status"], available["reason"]) == ("True", "MinimumReplicasAvailable")
    assert available["message"] == "Deployment has minimum availability."
    (replica_set,) = space.list("ReplicaSet")
    assert progressing["status"] == "True"
    assert progressing["message"] == f'ReplicaSet "{replica_set["metadata"]["name"]}" has successfully progressed.'
    counts = {key: value for key, value in deployment["status"].items() if key.endswith("eplicas") and value}
    assert counts == {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}


def test_a_roll_out_goes_no_further_than_surge_and_unavailable_allow(space: Workspace) -> None:
    deploy(space, replicas=4, strategy=rolling(1, 0))
    roll_out(space)
    change_image(space, "example.com/web:2")
    until(space, {"1": 4, "2": 1})
    space.steadily(lambda: sizes(space) == {"1": 4, "2": 1})
    space.make_ready(app="web")
    until(space, {"1": 3, "2": 2})
    space.steadily(lambda: sizes(space) == {"1": 3, "2": 2}, 0.5)


def test_a_roll_out_may_start_with_fewer_pods(space: Workspace) -> None:
    deploy(space, replicas=4, strategy=rolling(0, 2))
    roll_out(space)
    change_image(space, "example.com/web:2")
    until(space, {"1": 2, "2": 2})
    space.steadily(lambda: sizes(space) == {"1": 2, "2": 2})


def test_percentages_round_surge_up_and_unavailable_down(space: Workspace) -> None:
    deploy(space, replicas=5, strategy=rolling("30%", "30%"))
    roll_out(space)
    change_image(space, "example.com/web:2")
    until(space, {"1": 4, "2": 3})
    space.steadily(lambda: sizes(space) == {"1": 4, "2": 3}, 0.5)


def test_pods_that_are_not_ready_go_first(space: Workspace) -> None:
    deploy(space, replicas=2, image="example.com/broken:1", strategy=rolling(1, 1))
    until(space, {"1": 2})
    space.eventually(lambda: len(space.pods(app="web")) == 2)
    change_image(space, "example.com/web:2")
    # With nothing available nothing healthy may go, but one that is not available may, for another that may be.
    until(space, {"1": 1, "2": 2})
    space.steadily(lambda: sizes(space) == {"1": 1, "2": 2}, 0.5)


def test_recreate_waits_until_the_old_pods_are_gone(space: Workspace) -> None:
    deploy(space, replicas=2, strategy={"type": "Recreate"})
    roll_out(space)
    old = {pod["metadata"]["name"] for pod in space.pods(app="web")}
    for name in old:
        space.patch("Pod", name, {"metadata": {"finalizers": ["example.com/hold"]}})
    change_image(space, "example.com/web:2")
    space.eventually(lambda: all("deletionTimestamp" in pod["metadata"] for pod in space.pods(app="web")))
    space.steadily(lambda: len(space.list("ReplicaSet")) == 1)
    for name in old:
        space.patch("Pod", name, {"metadata": {"finalizers": None}})
    until(space, {"1": 0, "2": 2})


def test_revisions_count_up_and_come_back_with_an_old_template(space: Workspace) -> None:
    deploy(space, replicas=1)
    roll_out(space)
    first = space.list("ReplicaSet")[0]["metadata"]["name"]
    change_image(space, "example.com/web:2")
    roll_out(space)
    # Measured with 1.36: the generation "stays 1 (2 after a roll); the rehearsal counts 2 (and 4)".
    assert space.get("Deployment", "web")["metadata"]["generation"] == 2
    assert images(space) == {"1": "example.com/web:1", "2": "example.com/web:2"}
    assert space.get("Deployment", "web")["metadata"]["annotations"][REVISION] == "2"
    # What `kubectl rollout undo` does.
    change_image(space, "example.com/web:1")
    roll_out(space)
    assert images(space) == {"2": "example.com/web:2", "3": "example.com/web:1"}
    again = space.get("ReplicaSet", first)["metadata"]["annotations"]
    assert (again[REVISION], again["deployment.kubernetes.io/revision-history"]) == ("3", "1")
    assert space.get("Deployment", "web")["metadata"]["annotations"][REVISION] == "3"


def test_annotations_are_handed_down_to_the_replica_set(space: Workspace) -> None:
    deploy(space, replicas=1)
    cause = {"kubernetes.io/change-cause": "a better image"}
    space.patch("Deployment", "web", {"metadata": {"annotations": cause}})
    space.eventually(
        lambda: any(cause.items() <= one["metadata"]["annotations"].items() for one in space.list("ReplicaSet"))
    )


def test_a_paused_deployment_rolls_nothing_out_until_it_is_resumed(space: Workspace) -> None:
    deploy(space, replicas=1)
    roll_out(space)
    space.patch("Deployment", "web", {"spec": {"paused": True}})
    change_image(space, "example.com/web:2")
    found = space.eventually(
        lambda: (
            one if (one := condition(space.get("Deployment", "web"), "Progressing"))["status"] == "Unknown" else None
        )
    )
    assert (found["reason"], found["message"]) == ("DeploymentPaused", "Deployment is paused")
    space.steadily(lambda: sizes(space) == {"1": 1})
    space.patch("Deployment", "web", {"spec": {"paused": None}})
    roll_out(space)
    assert sizes(space) == {"1": 0, "2": 1}


def test_a_paused_deployment_can_be_scaled(space: Workspace) -> None:
    deploy(space, replicas=1, paused=False)
    roll_out(space)
    space.patch("Deployment", "web", {"spec": {"paused": True, "replicas": 3}})
    until(space, {"1": 3})


def test_scaling_in_the_middle_of_a_roll_out_is_shared_out(space: Workspace) -> None:
    deploy(space, replicas=10, strategy=rolling(3, 2))
    roll_out(space)
    change_image(space, "example.com/web:2")
    until(space, {"1": 8, "2": 5})
    space.patch("Deployment", "web", {"spec": {"replicas": 15}})
    until(space, {"1": 11, "2": 7})


@pytest.mark.parametrize("replicas", [0, 5])
def test_scaling_changes_no_revision(space: Workspace, replicas: int) -> None:
    deploy(space, replicas=2)
    roll_out(space)
    space.call(
        "PATCH",
        space.path("Deployment", "web", "scale"),
        {"spec": {"replicas": replicas}},
        "application/merge-patch+json",
    )
    until(space, {"1": replicas})
    space.eventually(lambda: len(space.pods(app="web")) == replicas)
    scale = space.call("GET", space.path("Deployment", "web", "scale"))
    assert scale["spec"].get("replicas", 0) == replicas
    assert scale["status"]["selector"] == "app=web"


def test_a_roll_out_that_stands_still_exceeds_its_deadline(space: Workspace) -> None:
    deploy(space, replicas=1, progressDeadlineSeconds=2)
    found = space.eventually(
        lambda: (
            one if (one := condition(space.get("Deployment", "web"), "Progressing")).get("status") == "False" else None
        )
    )
    (replica_set,) = space.list("ReplicaSet")
    assert found["reason"] == "ProgressDeadlineExceeded"
    assert found["message"] == f'ReplicaSet "{replica_set["metadata"]["name"]}" has timed out progressing.'
    roll_out(space)
    space.eventually(
        lambda: condition(space.get("Deployment", "web"), "Progressing")["reason"] == "NewReplicaSetAvailable"
    )


def test_no_more_old_replica_sets_are_kept_than_the_limit(space: Workspace) -> None:
    deploy(space, replicas=1, revisionHistoryLimit=1)
    for version in (1, 2, 3):
        change_image(space, f"example.com/web:{version}")
        roll_out(space)
        time.sleep(1.1)  # older versions tell the oldest by its time of creation, in whole seconds
    space.eventually(lambda: images(space) == {"2": "example.com/web:2", "3": "example.com/web:3"})


def test_pods_wait_for_min_ready_seconds_before_they_are_available(space: Workspace) -> None:
    deploy(space, replicas=1, minReadySeconds=3)
    (pod,) = space.eventually(lambda: space.pods(app="web"))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
    space.patch("Pod", pod["metadata"]["name"], {"status": {"phase": "Running", "conditions": [ready]}}, "status")
    status: Callable[[], Document] = lambda: space.get("Deployment", "web")["status"]  # noqa: E731 - read twice
    space.eventually(lambda: status().get("availableReplicas") == 1)
    (since,) = [one["lastTransitionTime"] for one in status()["conditions"] if one["type"] == "Available"]
    assert datetime.fromisoformat(since) - datetime.fromisoformat(now) >= timedelta(seconds=3)


# ReplicaSets


def replicate(space: Workspace, replicas: int) -> None:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")}
    space.create("ReplicaSet", "web", spec=spec)


def test_a_replica_set_replaces_a_pod_that_goes(space: Workspace) -> None:
    replicate(space, 2)
    before = space.eventually(lambda: pods if len(pods := space.pods(app="web")) == 2 else None)
    gone = before[0]["metadata"]["uid"]
    space.delete("Pod", before[0]["metadata"]["name"])
    space.eventually(lambda: len({pod["metadata"]["uid"] for pod in space.pods(app="web")} - {gone}) == 2)


def test_a_replica_set_replaces_a_pod_that_fails_and_leaves_it(space: Workspace) -> None:
    replicate(space, 1)
    (pod,) = space.eventually(lambda: space.pods(app="web"))
    space.say(pod, "Failed")
    space.eventually(lambda: len(space.pods(app="web")) == 2)


def test_a_replica_set_adopts_a_pod_that_fits(space: Workspace) -> None:
    space.create("Pod", "stray", **template("web"))
    replicate(space, 1)
    space.eventually(lambda: space.get("Pod", "stray")["metadata"].get("ownerReferences"))
    assert [pod["metadata"]["name"] for pod in space.pods(app="web")] == ["stray"]


def test_a_replica_set_lets_go_a_pod_that_fits_no_more(space: Workspace) -> None:
    replicate(space, 1)
    (pod,) = space.eventually(lambda: space.pods(app="web"))
    name = pod["metadata"]["name"]
    space.patch("Pod", name, {"metadata": {"labels": {"app": "aside"}}})
    space.eventually(lambda: not space.get("Pod", name)["metadata"].get("ownerReferences"))
    space.eventually(lambda: len(space.pods(app="web")) == 1)


def test_ready_pods_are_the_last_to_go(space: Workspace) -> None:
    replicate(space, 3)
    listed = space.eventually(lambda: pods if len(pods := space.pods(app="web")) == 3 else None)
    space.say(listed[1], "Running", ready=True)
    space.eventually(lambda: space.get("ReplicaSet", "web")["status"].get("readyReplicas") == 1)
    space.patch("ReplicaSet", "web", {"spec": {"replicas": 1}})
    space.eventually(lambda: len(space.pods(app="web")) == 1)
    assert space.pods(app="web")[0]["metadata"]["name"] == listed[1]["metadata"]["name"]


def test_what_a_replica_set_did_is_told_in_events(space: Workspace) -> None:
    replicate(space, 1)
    (pod,) = space.eventually(lambda: space.pods(app="web"))
    event = space.eventually(
        lambda: next((one for one in space.list("Event") if one["reason"] == "SuccessfulCreate"), None)
    )
    assert event["message"] == f"Created pod: {pod['metadata']['name']}"
    assert event["source"]["component"] == "replicaset-controller"
    assert (event["type"], event["count"]) == ("Normal", 1)
    about = event["involvedObject"]
    assert (about["kind"], about["name"], about["apiVersion"]) == ("ReplicaSet", "web", "apps/v1")
