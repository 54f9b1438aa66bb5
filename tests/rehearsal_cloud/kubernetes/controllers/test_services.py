"""Services: their addresses, and the endpoints behind them, on the rehearsal's cluster and on a real control plane."""

from __future__ import annotations

import ipaddress
import time
from typing import Any

import pytest

from tests.support.workspace import Document, Refused, Workspace, template


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def serve(space: Workspace, name: str = "web", **spec: Any) -> Document:
    return space.create("Service", name, spec={"selector": {"app": "web"}, "ports": [{"port": 80}], **spec})


def pod(space: Workspace, name: str, ip: str = "", *, ready: bool = False, **spec: Any) -> Document:
    # Named, though it is not there: what has an address has a node.
    made = space.create("Pod", name, **template("web", nodeName="nowhere", **spec))
    if ip:
        space.say(made, "Running", ready=ready, ip=ip)
    return made


def subsets(space: Workspace, name: str = "web") -> list[Document]:
    found = space.find("Endpoints", name) or {}
    return found.get("subsets") or []


def addresses(space: Workspace, kind: str = "addresses") -> list[str]:
    return sorted(one["ip"] for subset in subsets(space) for one in subset.get(kind) or ())


def slices(space: Workspace) -> list[Document]:
    version = space.call("GET", "/apis/discovery.k8s.io")["preferredVersion"]["groupVersion"]
    found: list[Document] = space.call("GET", f"/apis/{version}/namespaces/{space.namespace}/endpointslices")["items"]
    return found


def test_endpoints_are_the_ready_pods_that_the_selector_chooses(space: Workspace) -> None:
    serve(space)
    chosen = pod(space, "ready", "10.1.0.1", ready=True)
    pod(space, "starting", "10.1.0.2")
    pod(space, "pending")
    space.eventually(lambda: addresses(space) == ["10.1.0.1"])
    space.eventually(lambda: addresses(space, "notReadyAddresses") == ["10.1.0.2"])
    (subset,) = subsets(space)
    assert subset["ports"] == [{"port": 80, "protocol": "TCP"}]
    reference = subset["addresses"][0]["targetRef"]
    assert (reference["kind"], reference["name"]) == ("Pod", "ready")
    assert reference["uid"] == chosen["metadata"]["uid"]


def test_endpoints_follow_readiness(space: Workspace) -> None:
    serve(space)
    # A failed pod that would be restarted goes too since 1.22; 1.20 keeps it as not ready.
    one = pod(space, "one", "10.1.0.1", restartPolicy="Never")
    space.eventually(lambda: addresses(space, "notReadyAddresses") == ["10.1.0.1"])
    space.say(one, "Running", ready=True, ip="10.1.0.1")
    space.eventually(lambda: addresses(space) == ["10.1.0.1"])
    space.say(one, "Failed", ip="10.1.0.1")
    space.eventually(lambda: subsets(space) == [])


def test_endpoints_follow_labels_and_deletion(space: Workspace) -> None:
    serve(space)
    for number in (1, 2, 3):
        pod(space, f"pod-{number}", f"10.1.0.{number}", ready=True)
    space.eventually(lambda: len(addresses(space)) == 3)
    space.patch("Pod", "pod-1", {"metadata": {"labels": {"app": "aside"}}})
    space.delete("Pod", "pod-2", gracePeriodSeconds=0)
    space.eventually(lambda: addresses(space) == ["10.1.0.3"])


def test_a_service_may_publish_pods_that_are_not_ready(space: Workspace) -> None:
    serve(space, publishNotReadyAddresses=True)
    pod(space, "one", "10.1.0.1")
    space.eventually(lambda: addresses(space) == ["10.1.0.1"])


def test_a_target_port_may_be_the_name_of_a_pod_s_port(space: Workspace) -> None:
    serve(space, ports=[{"name": "http", "port": 80, "targetPort": "web"}])
    containers = [{"name": "main", "image": "x", "ports": [{"name": "web", "containerPort": 8080}]}]
    pod(space, "one", "10.1.0.1", ready=True, containers=containers)
    other = [{"name": "main", "image": "x", "ports": [{"name": "web", "containerPort": 9090}]}]
    pod(space, "two", "10.1.0.2", ready=True, containers=other)
    space.eventually(lambda: addresses(space) == ["10.1.0.1", "10.1.0.2"])
    ports = {subset["addresses"][0]["ip"]: subset["ports"] for subset in subsets(space)}
    assert ports == {
        "10.1.0.1": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "10.1.0.2": [{"name": "http", "port": 9090, "protocol": "TCP"}],
    }


def test_a_headless_service_has_endpoints_with_host_names(space: Workspace) -> None:
    serve(space, clusterIP="None")
    pod(space, "one", "10.1.0.1", ready=True, hostname="first", subdomain="web")
    space.eventually(lambda: addresses(space) == ["10.1.0.1"])
    found = space.get("Endpoints", "web")
    assert found["subsets"][0]["addresses"][0]["hostname"] == "first"
    assert found["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert space.get("Service", "web")["spec"]["clusterIP"] == "None"


def test_endpoints_of_a_service_without_a_selector_are_its_owner_s(space: Workspace) -> None:
    space.create("Service", "outside", spec={"ports": [{"port": 5432}]})
    mine = [{"addresses": [{"ip": "10.9.9.9"}], "ports": [{"port": 5432, "protocol": "TCP"}]}]
    space.create("Endpoints", "outside", subsets=mine)
    space.steadily(lambda: subsets(space, "outside") == mine)


def test_a_service_without_pods_has_one_empty_slice_which_stays(space: Workspace) -> None:
    def rests() -> bool:
        before = slices(space)
        time.sleep(1)
        return bool(before) and slices(space) == before

    serve(space)
    space.eventually(rests)  # the real controller may write a slice once more, before it has seen its own write
    (empty,) = slices(space)
    assert (empty["endpoints"], empty["ports"]) == (None, None)  # measured with 1.36: `endpoints: null`


def test_endpoints_tell_the_time_of_the_change_that_they_follow(cluster_api: Any, space: Workspace) -> None:
    """Measured with 1.36: EndpointSlices carry the last-change annotation."""
    made = serve(space)

    def last_changes() -> set[str]:
        # 1.20 has no slices of pods whose node is unknown to it.
        documents = [*space.list("Endpoints"), *(slices(space) if cluster_api.side == "rehearsal" else ())]
        annotations = [document["metadata"].get("annotations") or {} for document in documents]
        return {found.get("endpoints.kubernetes.io/last-change-trigger-time", "") for found in annotations}

    space.eventually(lambda: last_changes() == {made["metadata"]["creationTimestamp"]})
    pod(space, "one", "10.1.0.1", ready=True)
    space.eventually(lambda: last_changes() == {"2026-01-01T00:00:00Z"})
    space.delete("Pod", "one", gracePeriodSeconds=0)
    space.eventually(lambda: last_changes() == {""})


def test_a_load_balancer_of_local_traffic_has_a_port_for_health_checks(space: Workspace) -> None:
    """Measured with 1.36: `healthCheckNodePort` where externalTrafficPolicy is Local."""
    made = serve(space, type="LoadBalancer", externalTrafficPolicy="Local")
    port = made["spec"]["healthCheckNodePort"]
    assert 30000 <= port <= 32767
    assert port != made["spec"]["ports"][0]["nodePort"]
    again = space.patch("Service", "web", {"metadata": {"labels": {"a": "b"}}})
    assert again["spec"]["healthCheckNodePort"] == port
    again = space.patch("Service", "web", {"spec": {"externalTrafficPolicy": "Cluster"}})
    assert "healthCheckNodePort" not in again["spec"]
    assert "healthCheckNodePort" not in serve(space, "other", type="LoadBalancer")["spec"]


@pytest.mark.parametrize("api_server", ["rehearsal"], indirect=True)  # 1.20 leaves out pods whose node is unknown to it
def test_slices_change_with_their_pods_alone(space: Workspace) -> None:
    def addressed() -> list[list[str]]:
        return [[ip for one in it.get("endpoints") or () for ip in one["addresses"]] for it in slices(space)]

    serve(space)
    pod(space, "one", "10.1.0.1", ready=True)
    space.eventually(lambda: addressed() == [["10.1.0.1"]])
    known = slices(space)
    space.steadily(lambda: slices(space) == known)
    space.delete("Pod", "one", gracePeriodSeconds=0)
    space.eventually(lambda: addressed() == [[]])
    empty = slices(space)
    space.steadily(lambda: slices(space) == empty)


def test_endpoints_go_with_their_service(space: Workspace) -> None:
    serve(space)
    space.eventually(lambda: space.find("Endpoints", "web"))
    space.delete("Service", "web")
    space.eventually(lambda: space.find("Endpoints", "web") is None)


def test_each_service_has_an_address_of_its_own_and_keeps_it(space: Workspace) -> None:
    first, second = serve(space, "one"), serve(space, "two")
    taken = {one["spec"]["clusterIP"] for one in (first, second)}
    assert len(taken) == 2
    assert all(ipaddress.ip_address(address).is_private for address in taken)
    assert first["spec"]["clusterIPs"] == [first["spec"]["clusterIP"]]
    changed = space.patch("Service", "one", {"spec": {"ports": [{"port": 80, "targetPort": 81}]}})
    assert changed["spec"]["clusterIP"] == first["spec"]["clusterIP"]


def test_an_address_may_be_asked_for_once(space: Workspace) -> None:
    given = serve(space, "one")["spec"]["clusterIP"]
    with pytest.raises(Refused) as refused:
        serve(space, "two", clusterIP=given)
    assert refused.value.status["code"] == 422
    assert "provided IP is already allocated" in refused.value.status["message"]
    space.delete("Service", "one")
    assert serve(space, "two", clusterIP=given)["spec"]["clusterIP"] == given


def test_node_ports_are_given_out_once_and_kept(space: Workspace) -> None:
    made = serve(space, "one", type="NodePort")
    port = made["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    again = space.patch("Service", "one", {"metadata": {"labels": {"a": "b"}}})
    assert again["spec"]["ports"][0]["nodePort"] == port
    with pytest.raises(Refused) as refused:
        serve(space, "two", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    assert "spec.ports[0].nodePort: Invalid value: " in refused.value.status["message"]
    assert "provided port is already allocated" in refused.value.status["message"]


def test_an_external_name_has_no_address(space: Workspace) -> None:
    made = space.create("Service", "db", spec={"type": "ExternalName", "externalName": "db.example.com"})
    assert "clusterIP" not in made["spec"]
    space.steadily(lambda: space.find("Endpoints", "db") is None, 0.5)
