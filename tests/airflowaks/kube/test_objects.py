"""Objects converge by the server's own word: its dry run is the plan, and what it answers is what there will be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.engine.changes import AFTER_APPLY, Action
from airflowaks.engine.converge import converge
from airflowaks.errors import FieldConflict, Forbidden, InvalidObject, KubernetesError, MissingDependency
from airflowaks.kube.client import connect
from airflowaks.kube.objects import objects
from airflowaks.kube.ownership import taking_over
from tests.support.world import Missing

if TYPE_CHECKING:
    from tests.support.world import World

SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: "${NAMESPACE}"}
data: {colour: "${COLOUR}"}
"""
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: logs, namespace: "${NAMESPACE}"}
spec:
  accessModes: [ReadWriteMany]
  resources: {requests: {storage: 2Gi}}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle, namespace: "${NAMESPACE}"}
spec:
  replicas: 0
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec:
      containers:
        - name: main
          image: busybox
          args: [one, two]
          env:
            - {name: FIRST, value: "1"}
            - {name: SECOND, value: "2"}
"""
MOUNTING = f"""{DEPLOYMENT}
          volumeMounts: [{{name: data, mountPath: /data, subPath: own}}]
      volumes: [{{name: data, emptyDir: {{}}}}]
"""


def differences(world: World, text: str, **values: Any) -> list[str]:
    """What a plan says of the only object."""
    world.describe(text)
    session = world.session("plan")
    (change,) = converge(session, *world.objects(session, **values))
    return [str(one) for one in change.differences]


def test_what_is_applied_is_as_wanted_afterwards_and_not_written_again(world: World) -> None:
    (one,) = world.apply(DEPLOYMENT)
    version = world.version(one)
    session = world.session()
    (change,) = converge(session, *world.objects(session))
    assert (change.action, change.applied, world.version(one)) == (Action.NONE, False, version)


def test_a_plan_writes_nothing(world: World) -> None:
    world.describe(SETTINGS)
    session = world.session("plan")
    (one,) = world.objects(session, COLOUR="red")
    (change,) = converge(session, one)
    assert (change.action, change.applied) == (Action.CREATE, False)
    assert world.kube.get(one.reference) is None


def test_a_plan_shows_each_property_that_would_change(world: World) -> None:
    world.apply(DEPLOYMENT)
    text = DEPLOYMENT.replace("[one, two]", "[two, one]").replace('"2"', '"3"').replace("image: busybox", "image: b:1")
    assert differences(world, text) == [
        "spec.template.spec.containers[main].image: busybox → b:1",
        "spec.template.spec.containers[main].args[0]: one → two",
        "spec.template.spec.containers[main].args[1]: two → one",
        "spec.template.spec.containers[main].env[SECOND].value: 2 → 3",
    ]


def test_what_a_manifest_no_longer_names_goes(world: World) -> None:
    world.apply(SETTINGS.replace("}\n", ', shape: "round"}\n').replace(', shape: "round"}', "}", 1), COLOUR="red")
    assert differences(world, SETTINGS, COLOUR="red") == ["data.shape: round → (none)"]
    (one,) = world.apply(SETTINGS, COLOUR="red")
    assert one.facts
    assert one.facts["data"] == {"colour": "red"}


def test_what_others_add_stays(world: World) -> None:
    (one,) = world.apply(SETTINGS, COLOUR="red")
    path = world.kube.path(one.reference)
    patch = {"metadata": {"annotations": {"example.com/by": "somebody"}}, "data": {"size": "large"}}
    world.kube.request("PATCH", path, {"fieldManager": "somebody"}, patch, "application/merge-patch+json")
    assert differences(world, SETTINGS, COLOUR="red") == []


@pytest.mark.parametrize("mode", ["plan", "apply"])
def test_a_conflict_names_the_other_manager_and_the_field(world: World, mode: Any) -> None:
    (one,) = world.apply(SETTINGS, COLOUR="red")
    path, patch = world.kube.path(one.reference), {"data": {"colour": "blue"}}
    world.kube.request("PATCH", path, {"fieldManager": "somebody"}, patch, "application/merge-patch+json")
    session = world.session(mode)
    with pytest.raises(FieldConflict) as caught:
        converge(session, *world.objects(session, COLOUR="red"))
    message, _, times = caught.value.message.partition(" Last writes: ")
    assert message == (
        'ConfigMap settings has fields that another tool manages: .data.colour: conflict with "somebody" using v1.'
    )
    assert re.fullmatch(r"somebody at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\.", times)
    assert "fix of AKA-807" in caught.value.action


@pytest.mark.parametrize("mode", ["plan", "apply", "check"])
def test_an_object_that_admission_refuses_lacks_no_right(world: World, mode: Any) -> None:
    """Admission refuses with 403 as RBAC does: the advice was to join the Entra group."""
    bounds = {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}
    limits = {"metadata": {"name": "small"}, "spec": {"limits": [bounds]}}
    world.kube.request("POST", f"/api/v1/namespaces/{world.namespace}/limitranges", {}, limits)
    world.describe(CLAIM)

    session = world.session(mode)
    with pytest.raises(KubernetesError) as refused:
        converge(session, *world.objects(session))
    error = refused.value
    assert not isinstance(error, Forbidden)
    assert "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi" in error.message
    assert error.action.startswith("Set the requests and limits, or the claim's size, as the namespace's")


def test_what_another_manager_holds_is_taken_over_after_a_plan_that_says_whose_it_was(world: World) -> None:
    (one,) = world.apply(MOUNTING)
    path = world.kube.path(one.reference)
    mounts = [{"mountPath": "/data", "subPath": "other"}]
    container = {"name": "main", "env": [{"name": "FIRST", "value": "2"}], "volumeMounts": mounts}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    world.kube.request("PATCH", path, {"fieldManager": "somebody"}, patch, "application/strategic-merge-patch+json")
    scale = {"spec": {"replicas": 1}}
    world.kube.request("PATCH", f"{path}/scale", {"fieldManager": "else"}, scale, "application/merge-patch+json")
    for mode in ("plan", "apply"):
        session = world.session(mode)  # type: ignore[arg-type]
        (planned,) = world.objects(session)
        with taking_over(session):
            (change,) = converge(session, planned)
        values = {each.path: (each.before, each.after) for each in change.differences}
        main = "spec.template.spec.containers[main]"
        expected: dict[str, Any] = {"spec.replicas": (1, 0), f"{main}.env[FIRST].value": ("2", "1")}
        expected[f"{main}.volumeMounts[data].subPath"] = ("other", "own")
        assert values == expected
        if mode == "plan":
            holders = [planned.holder(field) for field in expected]
            assert [holder.split(" at ")[0] for holder in holders] == ["else", "somebody", "somebody"]
            assert planned.holder(f"{main}.image") == ""
    assert differences(world, MOUNTING) == []
    with taking_over(session):
        assert converge(session, planned)[0].action is Action.NONE


def test_a_plan_knows_what_is_within_nothing_yet(world: World) -> None:
    world.describe(SETTINGS)
    session = world.session("plan")
    (one,) = objects("objects", {"NAMESPACE": "x", "COLOUR": AFTER_APPLY}, parent=Missing(session, "cluster"))
    (change,) = converge(session, one)
    assert change.action is Action.CREATE
    assert ("data.colour", AFTER_APPLY) in [(each.path, each.after) for each in change.differences]


def test_nothing_is_applied_with_a_value_that_is_not_known(world: World) -> None:
    world.describe(SETTINGS)
    session = world.session()
    (one,) = world.objects(session, COLOUR=lambda: AFTER_APPLY)
    with pytest.raises(MissingDependency, match=r"ConfigMap settings needs a value for data\.colour"):
        converge(session, one)
    assert world.kube.get(one.reference) is None


def test_a_plan_knows_kinds_that_the_cluster_does_not_know_yet(world: World) -> None:
    text = SETTINGS.replace("apiVersion: v1\nkind: ConfigMap", "apiVersion: example.com/v1\nkind: Colour")
    world.describe(text)
    session = world.session("plan")
    (change,) = converge(session, *world.objects(session, COLOUR="red"))
    assert change.action is Action.CREATE

    session = world.session()
    with pytest.raises(MissingDependency, match=r"has no kind Colour in example\.com/v1"):
        converge(session, *world.objects(session, COLOUR="red"))


@pytest.mark.parametrize("mode", ["plan", "apply"])
def test_a_manifest_that_the_api_finds_invalid_is_refused_before_anything_is_written(world: World, mode: Any) -> None:
    world.describe(DEPLOYMENT.replace("replicas: 0", "replicas: -1"))
    session = world.session(mode)
    with pytest.raises(InvalidObject, match=r"spec\.replicas: Invalid value: -1"):
        converge(session, *world.objects(session))


@pytest.mark.parametrize("mode", ["plan", "apply"])
def test_a_field_that_does_not_exist_is_refused(world: World, mode: Any) -> None:
    world.describe(DEPLOYMENT.replace("replicas: 0", "replicaCount: 0"))
    session = world.session(mode)
    with pytest.raises(InvalidObject, match="replicaCount"):
        converge(session, *world.objects(session))


BINDING = """
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: "${NAMESPACE}"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "${ROLE}"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: readers}]
"""


def test_a_binding_of_another_role_is_made_anew_since_it_cannot_be_changed(world: World) -> None:
    world.apply(BINDING, ROLE="view")
    assert differences(world, BINDING, ROLE="edit") == ["roleRef.name: view → edit"]
    (one,) = world.apply(BINDING, ROLE="edit")
    assert one.facts
    assert one.facts["roleRef"]["name"] == "edit"
    assert differences(world, BINDING, ROLE="edit") == []


def test_who_lacks_a_right_is_told_which(world: World) -> None:
    world.describe(SETTINGS)
    session = world.session()
    session._once.made[connect,] = session.memoize(connect).impersonating("somebody", "nobodys")
    with pytest.raises(Forbidden) as caught:
        converge(session, *world.objects(session, COLOUR="red"))
    assert 'User "somebody" cannot get resource "configmaps" in API group "" in the namespace "' in caught.value.message
    assert session.environment.entra.admin_group in caught.value.action
