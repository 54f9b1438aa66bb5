"""Server-side apply: the same ownership, conflicts and removals on the rehearsal's cluster and on a real one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.workspace import Document, Refused, Workspace
from tests.support.writing import (
    APPLY,
    apply,
    create,
    object_of,
    operations,
    owned,
    patch,
    path,
    read,
    update,
)

if TYPE_CHECKING:
    from tests.support.control_plane import ClusterApi


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def config_map(**data: str) -> Document:
    return object_of("v1", "ConfigMap", **({"data": data} if data else {}))


def deployment(*containers: Document, **spec: Any) -> Document:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"schedulerName": "nobody", "containers": containers}}
    fields = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return object_of("apps/v1", "Deployment", spec=fields)


def service(*ports: Document) -> Document:
    return object_of("v1", "Service", spec={"selector": {"app": "web"}, "ports": ports})


def refusal(space: Workspace, document: Document, manager: str = "two", **how: Any) -> Document:
    with pytest.raises(Refused) as refused:
        apply(space, document, manager, **how)
    return refused.value.status


def containers(document: Document) -> dict[str, Document]:
    return {one["name"]: one for one in document["spec"]["template"]["spec"]["containers"]}


def test_makes_what_is_not_there(space: Workspace) -> None:
    made = apply(space, config_map(a="1"))
    assert made["data"] == {"a": "1"}
    assert owned(made, "one") == {"f:data": {"f:a": {}}}
    assert operations(made) == {"one": "Apply"}


def test_the_same_again_writes_nothing(space: Workspace) -> None:
    document = service({"port": 80, "protocol": "TCP", "targetPort": "http"})
    first = apply(space, document)
    assert apply(space, document) == first


def test_fields_of_others_stay(space: Workspace) -> None:
    apply(space, config_map(a="1"), "one")
    both = apply(space, config_map(b="2"), "two")
    assert both["data"] == {"a": "1", "b": "2"}
    assert owned(both, "one") == {"f:data": {"f:a": {}}}
    assert owned(both, "two") == {"f:data": {"f:b": {}}}


def test_what_is_applied_no_longer_goes(space: Workspace) -> None:
    apply(space, config_map(a="1", b="2"))
    assert apply(space, config_map(b="2"))["data"] == {"b": "2"}


def test_what_another_applies_too_stays(space: Workspace) -> None:
    apply(space, config_map(a="1"), "one")
    apply(space, config_map(a="1"), "two")
    left = apply(space, config_map(), "one")
    assert left["data"] == {"a": "1"}
    assert operations(left) == {"two": "Apply"}
    assert "data" not in apply(space, config_map(), "two")


def test_another_value_is_a_conflict(space: Workspace) -> None:
    apply(space, config_map(a="1"), "one")
    status = refusal(space, config_map(a="2"))
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    (cause,) = status["details"]["causes"]
    assert cause == {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}


def test_conflicts_are_listed_by_manager_in_order(space: Workspace) -> None:
    apply(space, config_map(a="1", b="1"), "one")
    apply(space, config_map(c="1"), "three")
    status = refusal(space, config_map(a="2", b="2", c="2"))
    expected = (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .data.a\n- .data.b\nconflicts with "three":\n- .data.c'
    )
    assert status["message"] == expected
    assert len(status["details"]["causes"]) == 3


def test_force_takes_a_field_over(space: Workspace) -> None:
    apply(space, config_map(a="1", b="1"), "one")
    taken = apply(space, config_map(a="2"), "two", force=True)
    assert taken["data"] == {"a": "2", "b": "1"}
    assert owned(taken, "one") == {"f:data": {"f:b": {}}}
    assert owned(taken, "two") == {"f:data": {"f:a": {}}}


def test_an_update_takes_a_field_over(space: Workspace) -> None:
    made = apply(space, config_map(a="1"), "one")
    updated = update(space, {**made, "data": {"a": "2"}}, fieldManager="editor")
    assert owned(updated, "editor") == {"f:data": {"f:a": {}}}
    assert operations(updated) == {"editor": "Update"}
    status = refusal(space, config_map(a="1"), "one")
    assert re.fullmatch(r'.*conflict with "editor" using v1( at \S+)?: \.data\.a', status["message"])


def test_who_applied_goes_on_owning_what_an_update_left(space: Workspace) -> None:
    made = apply(space, config_map(a="1", b="1"), "one")
    updated = update(space, {**made, "data": {"a": "1", "b": "2"}}, fieldManager="editor")
    assert owned(updated, "one") == {"f:data": {"f:a": {}}}


def test_what_an_update_set_is_not_the_appliers_to_remove(space: Workspace) -> None:
    create(space, config_map(a="1"), fieldManager="editor")
    apply(space, config_map(b="1"), "one")
    assert apply(space, config_map(), "one")["data"] == {"a": "1"}


def test_containers_are_merged_by_name(space: Workspace) -> None:
    apply(space, deployment({"name": "main", "image": "web:1"}), "one")
    side = {"name": "side", "image": "side:1"}
    both = apply(space, deployment({"name": "main", "workingDir": "/srv", "image": "web:1"}, side), "two")
    assert list(containers(both)) == ["main", "side"]
    assert containers(both)["main"]["workingDir"] == "/srv"
    left = apply(space, deployment({"name": "main", "image": "web:1"}), "two")
    assert list(containers(left)) == ["main"]
    assert "workingDir" not in containers(left)["main"]


def test_an_environment_variable_of_another_stays(space: Workspace) -> None:
    first = {"name": "main", "image": "web:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]}
    apply(space, deployment(first), "one")
    second = {"name": "main", "image": "web:1", "env": [{"name": "C", "value": "1"}]}
    both = apply(space, deployment(second), "two")
    assert sorted(one["name"] for one in containers(both)["main"]["env"]) == ["A", "B", "C"]
    first["env"] = first["env"][:1]
    left = apply(space, deployment(first), "one")
    assert sorted(one["name"] for one in containers(left)["main"]["env"]) == ["A", "C"]


def test_a_port_is_known_by_number_and_protocol(space: Workspace) -> None:
    udp, tcp = ({"port": 53, "name": protocol.lower(), "protocol": protocol} for protocol in ("UDP", "TCP"))
    made = apply(space, service(udp, tcp))
    keys = ['k:{"port":53,"protocol":"TCP"}', 'k:{"port":53,"protocol":"UDP"}']
    assert sorted(owned(made, "one")["f:spec"]["f:ports"]) == keys
    other = service({"port": 53, "name": "other", "protocol": "TCP"})
    assert refusal(space, other)["details"]["causes"][0]["field"] == '.spec.ports[port=53,protocol="TCP"].name'


def test_a_command_is_owned_whole(space: Workspace) -> None:
    apply(space, deployment({"name": "main", "image": "web:1", "command": ["a", "b"]}), "one")
    status = refusal(space, deployment({"name": "main", "image": "web:1", "command": ["a", "b", "c"]}))
    (cause,) = status["details"]["causes"]
    assert cause["field"] == '.spec.template.spec.containers[name="main"].command'
    apply(space, deployment({"name": "main", "image": "web:1", "command": ["a", "b"]}), "two")


def test_finalizers_are_a_set(space: Workspace) -> None:
    first = {**config_map(), "metadata": {"name": "it", "finalizers": ["example.com/a"]}}
    second = {**config_map(), "metadata": {"name": "it", "finalizers": ["example.com/b"]}}
    apply(space, first, "one")
    both = apply(space, second, "two")
    assert sorted(both["metadata"]["finalizers"]) == ["example.com/a", "example.com/b"]
    assert owned(both, "two") == {"f:metadata": {"f:finalizers": {'v:"example.com/b"': {}}}}
    assert apply(space, config_map(), "two")["metadata"]["finalizers"] == ["example.com/a"]
    assert "finalizers" not in apply(space, config_map(), "one")["metadata"]


def test_replicas_given_up_to_an_autoscaler_stay(space: Workspace) -> None:
    main = {"name": "main", "image": "web:1"}
    apply(space, deployment(main, replicas=2, paused=True), "one")
    patch(space, deployment(main), {"spec": {"replicas": 5}}, fieldManager="autoscaler")
    without = deployment(main, paused=True)
    del without["spec"]["replicas"]
    assert apply(space, without, "one")["spec"]["replicas"] == 5


def test_a_default_comes_back_when_nobody_sets_the_field(space: Workspace) -> None:
    main = {"name": "main", "image": "web:1"}
    apply(space, deployment(main, revisionHistoryLimit=3))
    assert apply(space, deployment(main))["spec"]["revisionHistoryLimit"] == 10


def test_a_quantity_is_kept_in_its_canonical_form(space: Workspace) -> None:
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}
    claim = object_of("v1", "PersistentVolumeClaim", spec={**asked, "storageClassName": "none"})
    made = apply(space, claim)
    assert made["spec"]["resources"]["requests"] == {"storage": "1Gi"}
    assert owned(apply(space, claim), "one") == owned(made, "one")


def test_a_label_is_owned_by_itself(space: Workspace) -> None:
    def labelled(**labels: str) -> Document:
        return {**config_map(), "metadata": {"name": "it", "labels": labels}}

    apply(space, labelled(a="1"), "one")
    both = apply(space, labelled(b="2"), "two")
    assert both["metadata"]["labels"] == {"a": "1", "b": "2"}
    assert owned(both, "two") == {"f:metadata": {"f:labels": {"f:b": {}}}}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"bogus": 1}, ".bogus: field not declared in schema"),
        ({"data": {"a": 1}}, ".data.a: expected string, got &value.valueUnstructured{Value:1}"),
        ({"data": "text"}, ".data: expected map, got &{text}"),
        (
            {"metadata": {"name": "it", "finalizers": ["a/b", "a/b"]}},
            '.metadata.finalizers: duplicate entries for key [="a/b"]',
        ),
    ],
)
def test_what_the_schema_does_not_allow(space: Workspace, change: Document, text: str) -> None:
    status = refusal(space, {**config_map(), **change})
    assert status["code"] == 500
    assert status["message"].startswith("failed to create typed patch object")
    assert status["message"].endswith(text)


def test_a_manager_is_needed(space: Workspace) -> None:
    with pytest.raises(Refused) as refused:
        space.call("PATCH", path(space, config_map()), config_map(), APPLY)
    text = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    assert refused.value.status["message"] == text
    assert refused.value.status["code"] == 422


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"apiVersion": "v2"},
            "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1",
        ),
        ({"metadata": {"name": "it", "managedFields": []}}, "metadata.managedFields must be nil"),
    ],
)
def test_what_can_not_be_applied(cluster_api: ClusterApi, space: Workspace, change: Document, text: str) -> None:
    if cluster_api.side == "rehearsal" and "apiVersion" in change:
        text = "invalid object type: /v2, Kind=ConfigMap"  # measured with 1.36
    document = {**config_map(), **change}
    with pytest.raises(Refused) as refused:
        space.call("PATCH", path(space, config_map(), fieldManager="one"), document, APPLY)
    assert (refused.value.status["code"], refused.value.status["message"]) == (400, text)


def test_an_old_version_is_refused(space: Workspace) -> None:
    made = apply(space, config_map(a="1"))
    apply(space, config_map(a="2"))
    stale = {"name": "it", "resourceVersion": made["metadata"]["resourceVersion"]}
    status = refusal(space, {**config_map(a="3"), "metadata": stale}, "one")
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"].startswith(
        'Operation cannot be fulfilled on configmaps "it": the object has been modified'
    )


def test_a_dry_run_leaves_no_trace(space: Workspace) -> None:
    made = apply(space, config_map(a="1"))
    query = {"fieldManager": "one", "dryRun": "All"}
    shown = space.call("PATCH", path(space, config_map(), **query), config_map(a="2"), APPLY)
    assert shown["data"] == {"a": "2"}
    assert read(space, config_map()) == made


def test_the_status_has_managers_of_its_own(space: Workspace) -> None:
    apply(space, deployment({"name": "main", "image": "web:1"}), "one")
    condition = {"type": "Fine", "status": "True"}
    document = object_of("apps/v1", "Deployment", status={"conditions": [condition]})
    shown = apply(space, document, "watcher", below="status")
    found = [one["type"] for one in shown["status"]["conditions"]]
    assert "Fine" in found
    assert set(owned(shown, "watcher")) == {"f:status"}


def test_one_who_edited_can_begin_to_apply(space: Workspace) -> None:
    create(space, config_map(a="1", b="1"), fieldManager="editor")
    shared = apply(space, config_map(a="1"), "one")
    assert operations(shared) == {"one": "Apply", "editor": "Update"}
    assert apply(space, config_map(), "one")["data"] == {"a": "1", "b": "1"}


def test_client_side_apply_hands_over_to_server_side_apply(space: Workspace) -> None:
    last = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"it"},"data":{"a":"1"}}'
    note = {"kubectl.kubernetes.io/last-applied-configuration": last}
    made = {**config_map(a="1"), "metadata": {"name": "it", "annotations": note}}
    create(space, made, fieldManager="kubectl-client-side-apply")
    taken = apply(space, config_map(a="2"), "kubectl")
    assert taken["data"] == {"a": "2"}
    refusal(space, config_map(a="3"), "another")
