"""Lists with selectors and in pages, and watches, through the official client and as they are on the wire."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from kubernetes.client import CoreV1Api
from kubernetes.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.control_plane import ClusterApi

MERGE = "application/merge-patch+json"


class Shelf:
    """Config maps with labels: a (front, new), b (front), c (back), d (none)."""

    def __init__(self, api: ClusterApi) -> None:
        self.api = api
        self.path = f"/api/v1/namespaces/{api.namespace}/configmaps"
        for name, labels in (("a", {"tier": "front", "new": ""}), ("b", {"tier": "front"}), ("c", {"tier": "back"})):
            self.make(name, **labels)
        self.make("d")

    def make(self, name: str, **labels: str) -> dict[str, Any]:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"on": "shelf", **labels}},
        }
        return dict(self.api.send("POST", self.path, body)[1])

    def label(self, name: str, **labels: str | None) -> dict[str, Any]:
        return dict(self.api.send("PATCH", f"{self.path}/{name}", {"metadata": {"labels": labels}}, media=MERGE)[1])

    def list(self, **query: str | int) -> tuple[int, Any]:
        text = "&".join(f"{key}={quote(str(value))}" for key, value in query.items())
        return self.api.send("GET", f"{self.path}?{text}")

    def names(self, **query: str | int) -> str:
        status, answer = self.list(**query)
        assert status == 200, answer
        return "".join(one["metadata"]["name"] for one in answer["items"])

    def watch(self, **query: str | int) -> Iterator[dict[str, Any]]:
        text = "&".join(f"{key}={quote(str(value))}" for key, value in {"timeoutSeconds": 10, **query}.items())
        request = self.api.client.param_serialize(
            "GET",
            f"{self.path}?watch=1&{text}",
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        response = self.api.client.call_api(*request, _request_timeout=15)
        try:
            for line in response.response:
                yield json.loads(line)
        finally:
            response.response.release_conn()


@pytest.fixture
def shelf(cluster_api: ClusterApi) -> Shelf:
    return Shelf(cluster_api)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("tier=front", "ab"),
        ("tier==front,new", "a"),
        ("on,tier!=front", "cd"),
        ("tier in (front, back)", "abc"),
        ("on,tier notin (front)", "cd"),
        ("on,!tier", "d"),
        ("tier", "abc"),
        ("tier=nothing", ""),
    ],
)
def test_labels_select(shelf: Shelf, selector: str, names: str) -> None:
    assert shelf.names(labelSelector=selector) == names


@pytest.mark.parametrize(
    ("selector", "names"), [("metadata.name=b", "b"), ("metadata.name!=b", "acd"), ("metadata.name=nothing", "")]
)
def test_fields_select(shelf: Shelf, selector: str, names: str) -> None:
    assert shelf.names(labelSelector="on", fieldSelector=selector) == names


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"labelSelector": "a===b"}, "unable to parse requirement: found '=', expected: identifier"),
        ({"labelSelector": ",b"}, "found ',', expected: !, identifier, or 'end of string'"),
        ({"labelSelector": "a in b"}, "unable to parse requirement: found 'b' expected: '('"),
        (
            {"fieldSelector": "foo=bar"},
            '"foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ({"limit": "x"}, 'strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)
def test_selectors_that_cannot_be_read(shelf: Shelf, query: dict[str, str], text: str) -> None:
    status, answer = shelf.list(**query)
    assert (status, answer["reason"], answer["message"]) == (400, "BadRequest", text)


def test_pods_are_selected_by_some_of_their_fields(cluster_api: ClusterApi) -> None:
    pods = f"/api/v1/namespaces/{cluster_api.namespace}/pods"
    assert cluster_api.send("GET", f"{pods}?fieldSelector=spec.nodeName%3Dn,status.phase%21%3DRunning")[0] == 200
    status, answer = cluster_api.send("GET", f"{pods}?fieldSelector=spec.foo%3Dn")
    assert (status, answer["message"]) == (400, "field label not supported: spec.foo")


def test_a_list_is_read_in_pages(shelf: Shelf) -> None:
    status, first = shelf.list(limit=3, labelSelector="on")
    assert (status, [one["metadata"]["name"] for one in first["items"]]) == (200, ["a", "b", "c"])
    shelf.make("e")  # after the list began: no part of it
    status, second = shelf.list(limit=3, labelSelector="on", **{"continue": first["metadata"]["continue"]})
    assert (status, [one["metadata"]["name"] for one in second["items"]]) == (200, ["d"])
    assert second["metadata"].get("continue", "") == ""
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_page_says_how_much_is_left(shelf: Shelf) -> None:
    whole = len(shelf.list()[1]["items"])
    assert shelf.list(limit=1)[1]["metadata"]["remainingItemCount"] == whole - 1
    assert "remainingItemCount" not in shelf.list(limit=1, labelSelector="on")[1]["metadata"]


def test_a_version_of_the_future_is_waited_for_in_vain(shelf: Shelf) -> None:
    status, answer = shelf.list(resourceVersion=10**9)
    assert (status, answer["reason"]) == (504, "Timeout")
    assert answer["message"].startswith("Timeout: Too large resource version: 1000000000, current: ")
    assert answer["details"]["causes"] == [
        {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    ]


def test_a_watch_without_a_version_begins_with_what_is_there(shelf: Shelf) -> None:
    events = shelf.watch(labelSelector="on")
    seen = [next(events) for _ in range(4)]
    events.close()
    assert {one["type"] for one in seen} == {"ADDED"}
    assert sorted(one["object"]["metadata"]["name"] for one in seen) == ["a", "b", "c", "d"]


def test_a_watch_tells_of_each_change_once_and_in_order(shelf: Shelf) -> None:
    version = shelf.list()[1]["metadata"]["resourceVersion"]
    made = shelf.make("e")
    changed = shelf.label("e", tier="back")
    shelf.api.send("DELETE", f"{shelf.path}/e")
    events = shelf.watch(resourceVersion=version, labelSelector="on")
    seen = [next(events) for _ in range(3)]
    events.close()
    assert [one["type"] for one in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert [one["object"] for one in seen[:2]] == [made, changed]
    versions = [int(one["object"]["metadata"]["resourceVersion"]) for one in seen]
    assert versions == sorted(set(versions))


def test_who_watches_a_selection_sees_objects_come_and_go(shelf: Shelf) -> None:
    version = shelf.list()[1]["metadata"]["resourceVersion"]
    shelf.label("a", tier="back")
    shelf.label("a", new="yes")
    shelf.label("a", tier="front")
    events = shelf.watch(resourceVersion=version, labelSelector="tier=back")
    seen = [next(events) for _ in range(3)]
    events.close()
    assert [one["type"] for one in seen] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_watch_may_be_of_one_name(shelf: Shelf) -> None:
    version = shelf.list()[1]["metadata"]["resourceVersion"]
    shelf.label("a", tier="back")
    shelf.label("b", tier="back")
    events = shelf.watch(resourceVersion=version, fieldSelector="metadata.name=b")
    assert next(events)["object"]["metadata"]["name"] == "b"
    events.close()


def test_a_watch_ends_when_its_time_is_up(shelf: Shelf) -> None:
    version = shelf.list()[1]["metadata"]["resourceVersion"]
    assert list(shelf.watch(resourceVersion=version, labelSelector="on", timeoutSeconds=1)) == []


def test_a_version_long_gone_is_gone(shelf: Shelf) -> None:
    if shelf.api.side == "control-plane":
        pytest.skip("etcd forgets after five minutes; the rehearsal, when it starts")
    (event,) = shelf.watch(resourceVersion=1)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1 (")


def test_the_official_clients_watch_sees_what_happens_meanwhile(shelf: Shelf) -> None:
    core, namespace = CoreV1Api(shelf.api.client), shelf.api.namespace
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    later = threading.Timer(0.3, shelf.make, ("e",), {"tier": "late"})
    later.start()
    watch = Watch()
    stream = watch.stream(
        core.list_namespaced_config_map,
        namespace,
        resource_version=version,
        label_selector="tier=late",
        timeout_seconds=10,
    )
    event = next(stream)
    watch.stop()
    later.join()
    assert (event["type"], event["object"].metadata.name) == ("ADDED", "e")
