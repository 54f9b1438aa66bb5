"""JSON, merge and strategic merge patches: the same results and refusals on the rehearsal's cluster and a real one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.workspace import Document, Refused, Workspace
from tests.support.writing import JSON, MERGE, STRATEGIC, cases, create, object_of, patch

_MEDIA = {"json": JSON, "merge": MERGE, "strategic": STRATEGIC}
_CASES = cases("patches")


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def refusal(space: Workspace, change: Any, media: str) -> Document:
    document = object_of("v1", "ConfigMap", data={"a": "1"})
    create(space, document)
    with pytest.raises(Refused) as refused:
        patch(space, document, change, media)
    return refused.value.status


def deployment(spec: Document) -> Document:
    """A deployment that nothing is missing from but what a case is about."""
    spec = copy.deepcopy(spec)
    template = spec.setdefault("template", {})
    template["metadata"] = {"labels": {"app": "web"}}
    template.setdefault("spec", {}).setdefault("containers", [{"name": "main", "image": "web:1"}])
    template["spec"]["schedulerName"] = "nobody"
    return object_of("apps/v1", "Deployment", spec={"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, **spec})


def only(found: Any, asked: Any) -> Any:
    """Return what was found without the fields that nobody asked about; lists stay whole."""
    if isinstance(found, dict) and isinstance(asked, dict):
        extra = () if "type" not in asked else ("rollingUpdate",)
        return {name: only(child, asked.get(name)) for name, child in found.items() if name in (*asked, *extra)}
    if isinstance(found, list) and isinstance(asked, list) and len(found) == len(asked):
        return [only(one, other) for one, other in zip(found, asked, strict=True)]
    return found


@pytest.mark.parametrize("case", _CASES, ids=[one["name"] for one in _CASES])
def test_patched(space: Workspace, case: Document) -> None:
    media, change = _MEDIA[case.get("media", "strategic")], case["patch"]
    data = case["kind"] == "ConfigMap"
    document = object_of("v1", "ConfigMap", data=case["from"]) if data else deployment(case["from"])
    create(space, document)
    part = "data" if data else "spec"
    patched = patch(space, document, change if media == JSON else {part: change}, media)
    assert (patched[part] if data else only(patched[part], case["to"])) == case["to"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/a", "value": "2"},
        {"op": "remove", "path": "/data/b"},
        {"op": "add", "path": "/nowhere/b", "value": "2"},
        {"op": "bogus", "path": "/data/a"},
    ],
    ids=["test", "remove", "add", "bogus"],
)
def test_an_operation_that_fails(space: Workspace, operation: Document) -> None:
    status = refusal(space, [operation], JSON)
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["message"] == "the server rejected our request due to an error in our request"


def test_a_strategic_merge_patch_is_an_object(space: Workspace) -> None:
    status = refusal(space, [1], STRATEGIC)
    text = "json: cannot unmarshal array into Go value of type map[string]interface {}"
    assert (status["code"], status["message"]) == (400, text)


@pytest.mark.parametrize("media", [MERGE, STRATEGIC])
def test_a_patch_that_gives_something_of_another_type(space: Workspace, media: str) -> None:
    status = refusal(space, {"data": {"a": {"b": "c"}}}, media)
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["details"]["causes"][0]["field"] == "patch"


def test_a_patch_that_renames(space: Workspace) -> None:
    status = refusal(space, {"metadata": {"name": "other"}}, MERGE)
    text = "the name of the object (other) does not match the name on the URL (it)"
    assert (status["code"], status["message"]) == (400, text)


def test_a_patch_of_an_old_version(space: Workspace) -> None:
    status = refusal(space, {"metadata": {"resourceVersion": "1"}, "data": {"b": "2"}}, MERGE)
    assert (status["code"], status["reason"]) == (409, "Conflict")


def test_retained_keys_must_hold_what_the_patch_sets(space: Workspace) -> None:
    create(space, deployment({}))
    change = {"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {"maxSurge": 1}}}}
    with pytest.raises(Refused) as refused:
        patch(space, deployment({}), change, STRATEGIC)
    status = refused.value.status
    assert (status["code"], status["message"]) == (400, "invalid patch format of retainKeys")


def test_an_item_without_its_key(space: Workspace) -> None:
    create(space, deployment({}))
    change = {"spec": {"template": {"spec": {"containers": [{"image": "web:2"}]}}}}
    with pytest.raises(Refused) as refused:
        patch(space, deployment({}), change, STRATEGIC)
    status = refused.value.status
    assert status["code"] == 500
    assert status["message"] == "map: map[image:web:2] does not contain declared merge key: name"
