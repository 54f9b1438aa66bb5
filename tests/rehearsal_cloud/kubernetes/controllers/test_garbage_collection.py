"""What goes with its owner, before it or not at all, and how a namespace empties: here and on a real control plane."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.workspace import Document, Workspace, template


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def own(space: Workspace, name: str, *owners: Document, block: bool = True) -> Document:
    """Make a config map that belongs to others."""
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    return space.create("ConfigMap", name, metadata={"ownerReferences": references})


def gone(space: Workspace, *names: str) -> None:
    space.eventually(lambda: all(space.find("ConfigMap", name) is None for name in names))


def owners(space: Workspace, name: str) -> list[str]:
    return [one["name"] for one in space.get("ConfigMap", name)["metadata"].get("ownerReferences") or ()]


def test_dependents_go_after_their_owner(space: Workspace) -> None:
    parent = space.create("ConfigMap", "parent")
    child = own(space, "child", parent)
    own(space, "grandchild", child)
    space.delete("ConfigMap", "parent", propagationPolicy="Background")
    assert space.find("ConfigMap", "parent") is None
    gone(space, "child", "grandchild")


def test_an_owner_waits_for_its_dependents_in_the_foreground(space: Workspace) -> None:
    parent = space.create("ConfigMap", "parent")
    own(space, "child", parent)
    space.patch("ConfigMap", "child", {"metadata": {"finalizers": ["example.com/hold"]}})
    answer = space.delete("ConfigMap", "parent", propagationPolicy="Foreground")
    assert answer["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert "deletionTimestamp" in answer["metadata"]
    space.eventually(lambda: "deletionTimestamp" in space.get("ConfigMap", "child")["metadata"])
    space.steadily(lambda: space.find("ConfigMap", "parent") is not None)
    space.patch("ConfigMap", "child", {"metadata": {"finalizers": None}})
    gone(space, "child", "parent")


def test_an_owner_does_not_wait_for_dependents_that_do_not_block_it(space: Workspace) -> None:
    parent = space.create("ConfigMap", "parent")
    own(space, "child", parent, block=False)
    space.patch("ConfigMap", "child", {"metadata": {"finalizers": ["example.com/hold"]}})
    space.delete("ConfigMap", "parent", propagationPolicy="Foreground")
    gone(space, "parent")
    assert space.find("ConfigMap", "child") is not None
    space.patch("ConfigMap", "child", {"metadata": {"finalizers": None}})


def test_orphans_stay_and_forget_their_owner(space: Workspace) -> None:
    parent = space.create("ConfigMap", "parent")
    own(space, "child", parent)
    answer = space.delete("ConfigMap", "parent", propagationPolicy="Orphan")
    assert answer["metadata"]["finalizers"] == ["orphan"]
    gone(space, "parent")
    assert owners(space, "child") == []
    space.steadily(lambda: space.find("ConfigMap", "child") is not None)


def test_what_has_another_owner_stays(space: Workspace) -> None:
    one, other = space.create("ConfigMap", "one"), space.create("ConfigMap", "other")
    own(space, "child", one, other)
    space.delete("ConfigMap", "one", propagationPolicy="Background")
    space.eventually(lambda: owners(space, "child") == ["other"])
    space.delete("ConfigMap", "other", propagationPolicy="Background")
    gone(space, "child")


def test_what_belongs_to_nobody_that_exists_goes(space: Workspace) -> None:
    parent = space.create("ConfigMap", "parent")
    parent["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000"
    own(space, "child", parent)
    gone(space, "child")
    assert space.find("ConfigMap", "parent") is not None


def test_a_deployment_takes_its_replica_sets_and_pods_along(space: Workspace) -> None:
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")}
    space.create("Deployment", "web", spec=spec)
    space.eventually(lambda: len(space.pods(app="web")) == 2)
    space.delete("Deployment", "web")
    space.eventually(lambda: not space.list("ReplicaSet") and not space.pods(app="web"))


def test_a_deployment_deleted_in_the_foreground_goes_last(space: Workspace) -> None:
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")}
    space.create("Deployment", "web", spec=spec)
    (pod,) = space.eventually(lambda: space.pods(app="web"))
    name = pod["metadata"]["name"]
    space.patch("Pod", name, {"metadata": {"finalizers": ["example.com/hold"]}})
    space.delete("Deployment", "web", propagationPolicy="Foreground")
    space.eventually(lambda: "deletionTimestamp" in space.get("Pod", name)["metadata"])
    assert space.get("Deployment", "web")["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert len(space.list("ReplicaSet")) == 1
    space.patch("Pod", name, {"metadata": {"finalizers": None}})
    space.eventually(lambda: space.find("Deployment", "web") is None)
    assert space.list("ReplicaSet") == []


def test_a_deployment_s_replica_sets_can_be_left_and_are_adopted_again(space: Workspace) -> None:
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")}
    space.create("Deployment", "web", spec=spec)
    (pod,) = space.eventually(lambda: space.pods(app="web"))
    space.delete("Deployment", "web", propagationPolicy="Orphan")
    space.eventually(lambda: space.find("Deployment", "web") is None)
    (left,) = space.list("ReplicaSet")
    assert not left["metadata"].get("ownerReferences")
    space.create("Deployment", "web", spec=spec)
    space.eventually(lambda: space.list("ReplicaSet")[0]["metadata"].get("ownerReferences"))
    assert [one["metadata"]["name"] for one in space.list("ReplicaSet")] == [left["metadata"]["name"]]
    assert space.pods(app="web")[0]["metadata"]["uid"] == pod["metadata"]["uid"]


# Namespaces


def test_a_namespace_has_a_service_account_and_the_root_certificate(space: Workspace) -> None:
    space.eventually(lambda: space.find("ServiceAccount", "default"))
    found = space.eventually(lambda: space.find("ConfigMap", "kube-root-ca.crt"))
    assert found["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")


def test_the_default_service_account_and_the_certificate_come_back(space: Workspace) -> None:
    for kind, name in (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")):
        before = space.eventually(lambda kind=kind, name=name: space.find(kind, name))
        space.delete(kind, name)
        again = space.eventually(lambda kind=kind, name=name: space.find(kind, name))
        assert again["metadata"]["uid"] != before["metadata"]["uid"]


def test_a_changed_root_certificate_is_put_right(space: Workspace) -> None:
    before = space.eventually(lambda: space.find("ConfigMap", "kube-root-ca.crt"))["data"]
    space.patch("ConfigMap", "kube-root-ca.crt", {"data": {"ca.crt": "another"}})
    space.eventually(lambda: space.get("ConfigMap", "kube-root-ca.crt")["data"] == before)


def test_a_namespace_empties_before_it_goes(space: Workspace) -> None:
    name = f"{space.namespace}-other"
    space.create("Namespace", name)
    space = Workspace(space.client, name)
    space.create("ConfigMap", "held", metadata={"finalizers": ["example.com/hold"]})
    space.create("Secret", "free")
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")}
    space.create("Deployment", "web", spec=spec)
    space.eventually(lambda: space.pods(app="web"))
    answer = space.delete("Namespace", name)
    assert answer["status"]["phase"] == "Terminating"

    def condition(kind: str) -> Document:
        conditions = space.get("Namespace", name)["status"].get("conditions") or ()
        return next((one for one in conditions if one["type"] == kind), {})

    space.eventually(lambda: condition("NamespaceContentRemaining").get("status") == "True")
    space.eventually(lambda: not space.pods() and not space.list("Secret"))
    remaining = space.eventually(
        lambda: one if (one := condition("NamespaceContentRemaining"))["message"].count("instances") == 1 else None,
        60,
    )
    assert remaining["message"] == "Some resources are remaining: configmaps. has 1 resource instances"
    held = condition("NamespaceFinalizersRemaining")
    text = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    assert (held["status"], held["message"]) == ("True", text)
    space.patch("ConfigMap", "held", {"metadata": {"finalizers": None}})
    space.eventually(lambda: space.find("Namespace", name) is None, 60)
