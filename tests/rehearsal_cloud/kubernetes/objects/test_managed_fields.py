"""Managed fields of plain writes, the same on the rehearsal's cluster and on a real one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.workspace import Workspace
from tests.support.writing import (
    JSON,
    STRATEGIC,
    apply,
    create,
    object_of,
    operations,
    owned,
    patch,
    read,
    update,
)

_MAIN = 'k:{"name":"main"}'


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def test_a_creator_owns_all_that_it_set_and_the_maps_around(space: Workspace) -> None:
    made = create(space, object_of("v1", "ConfigMap", data={"a": "1"}), fieldManager="editor")
    assert owned(made, "editor") == {"f:data": {".": {}, "f:a": {}}}
    assert operations(made) == {"editor": "Update"}


def test_a_creator_owns_the_defaults_too(space: Workspace) -> None:
    containers = [{"name": "main", "image": "web:1", "ports": [{"containerPort": 80}]}]
    pod = object_of("v1", "Pod", spec={"schedulerName": "nobody", "containers": containers})
    spec = owned(create(space, pod, fieldManager="editor"), "editor")["f:spec"]
    assert spec["f:containers"][_MAIN] == {
        ".": {},
        "f:image": {},
        "f:imagePullPolicy": {},
        "f:name": {},
        "f:ports": {
            ".": {},
            'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}},
        },
        "f:resources": {},
        "f:terminationMessagePath": {},
        "f:terminationMessagePolicy": {},
    }
    assert {"f:dnsPolicy", "f:restartPolicy", "f:schedulerName", "f:securityContext"} <= set(spec)


@pytest.mark.parametrize(
    ("media", "change"),
    [
        (STRATEGIC, {"data": {"b": "2"}}),
        (JSON, [{"op": "add", "path": "/data/b", "value": "2"}]),
    ],
)
def test_a_patch_owns_what_it_changes(space: Workspace, media: str, change: Any) -> None:
    document = object_of("v1", "ConfigMap", data={"a": "1"})
    create(space, document, fieldManager="editor")
    patched = patch(space, document, change, media, fieldManager="patcher")
    assert owned(patched, "patcher") == {"f:data": {"f:b": {}}}
    assert owned(patched, "editor") == {"f:data": {".": {}, "f:a": {}}}


def test_what_is_removed_is_nobodys(space: Workspace) -> None:
    document = object_of("v1", "ConfigMap", data={"a": "1", "b": "1"})
    create(space, document, fieldManager="editor")
    patched = patch(space, document, {"data": {"b": None}}, fieldManager="patcher")
    assert owned(patched, "editor") == {"f:data": {".": {}, "f:a": {}}}
    assert operations(patched) == {"editor": "Update"}


def test_the_same_manager_has_one_entry(space: Workspace) -> None:
    document = object_of("v1", "ConfigMap", data={"a": "1"})
    create(space, document, fieldManager="editor")
    patched = patch(space, document, {"data": {"b": "1"}}, fieldManager="editor")
    assert owned(patched, "editor") == {"f:data": {".": {}, "f:a": {}, "f:b": {}}}


def test_an_update_that_changes_nothing_owns_nothing(space: Workspace) -> None:
    made = create(space, object_of("v1", "ConfigMap", data={"a": "1"}), fieldManager="editor")
    updated = update(space, made, fieldManager="another")
    assert updated == made


def test_the_names_are_never_owned(space: Workspace) -> None:
    metadata = {"labels": {"a": "1"}, "annotations": {"b": "2"}}
    made = create(space, object_of("v1", "Secret", metadata=metadata), fieldManager="editor")
    expected = {
        "f:metadata": {"f:annotations": {".": {}, "f:b": {}}, "f:labels": {".": {}, "f:a": {}}},
        "f:type": {},
    }
    assert owned(made, "editor") == expected


def test_a_client_can_start_over(space: Workspace) -> None:
    made = apply(space, object_of("v1", "ConfigMap", data={"a": "1"}))
    made["metadata"]["managedFields"] = [{}]
    assert "one" not in operations(update(space, made))
    made = read(space, made)
    assert "one" not in operations(made)


def test_more_than_ten_editors_become_ancient(space: Workspace) -> None:
    document = object_of("v1", "ConfigMap", data={"a": "1"})
    create(space, document, fieldManager="editor-00")
    for index in range(1, 12):
        patched = patch(space, document, {"data": {f"k{index}": "1"}}, fieldManager=f"editor-{index:02}")
    assert len(operations(patched)) == 10
    assert "ancient-changes" in operations(patched)
