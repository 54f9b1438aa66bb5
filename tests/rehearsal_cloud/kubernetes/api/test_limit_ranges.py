"""Limit ranges: the defaults that they set, and what they refuse in which words; the same as a real control plane's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.workspace import Document, Refused, Workspace, template

if TYPE_CHECKING:
    from tests.support.control_plane import ClusterApi

RANGE = "LimitRange"
CLAIM = "PersistentVolumeClaim"


@pytest.fixture
def space(cluster_api: ClusterApi) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def limit(space: Workspace, kind: str, name: str = "small", **limits: Document) -> None:
    space.create(RANGE, name, spec={"limits": [{"type": kind, **limits}]})
    if space.client.configuration.host.startswith("https://127"):
        time.sleep(0.3)  # the real plugin looks into a cache


def sized(requests: Document | None = None, limits: Document | None = None, name: str = "main") -> Document:
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {"name": name, "image": "example.com/web:1", "resources": resources}


def pod(space: Workspace, *containers: Document, init: tuple[Document, ...] = ()) -> Document:
    spec = {"containers": list(containers), "initContainers": list(init)}
    return space.create("Pod", "web", **template("web", **spec))


def refusal(space: Workspace, kind: str = "Pod", **fields: Any) -> str:
    with pytest.raises(Refused) as refused:
        space.create(kind, "web", **fields)
    assert (refused.value.status["code"], refused.value.status["reason"]) == (403, "Forbidden")
    message: str = refused.value.status["message"]
    return message.partition(' "web" is forbidden: ')[2]


def test_defaults_are_set_for_containers_that_name_none(space: Workspace) -> None:
    limit(space, "Container", default={"cpu": "1", "memory": "1Gi"}, defaultRequest={"cpu": "100m"})
    made = pod(space, sized({"cpu": "200m"}), sized(limits={"memory": "2Gi"}, name="side"), init=(sized(name="first"),))
    defaults = {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    main, side = (container["resources"] for container in made["spec"]["containers"])
    assert main == {**defaults, "requests": {"cpu": "200m", "memory": "1Gi"}}
    assert side == {"requests": {"cpu": "100m", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
    assert made["spec"]["initContainers"][0]["resources"] == defaults
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: memory request for container main; cpu, memory limit for container main; cpu request"
        " for container side; cpu limit for container side; cpu, memory request for init container first; cpu, memory"
        " limit for init container first"
    )


CPU_RATIO = "cpu max limit to request ratio per"
BOUNDS: list[tuple[str, Document, list[tuple[Document, Document]], str]] = [
    (
        "Container",
        {"min": {"cpu": "100m"}},
        [({"cpu": "50m"}, {})],
        "minimum cpu usage per Container is 100m, but request is 50m",
    ),
    (
        "Container",
        {"max": {"memory": "1Gi"}},
        [({}, {"memory": "2Gi"})],
        "maximum memory usage per Container is 1Gi, but limit is 2Gi",
    ),
    (
        "Container",
        {"maxLimitRequestRatio": {"cpu": "2"}},
        [({"cpu": "1"}, {"cpu": "3"})],
        f"{CPU_RATIO} Container is 2, but provided ratio is 3.000000",
    ),
    (
        "Container",
        {"maxLimitRequestRatio": {"cpu": "2"}},
        [({}, {})],
        f"{CPU_RATIO} Container is 2, but no request is specified or request is 0",
    ),
    (
        "Container",
        {"maxLimitRequestRatio": {"cpu": "2"}},
        [({"cpu": "1"}, {})],
        f"{CPU_RATIO} Container is 2, but no limit is specified or limit is 0",
    ),
    (
        "Pod",
        {"min": {"cpu": "1"}},
        [({"cpu": "600m"}, {}), ({"cpu": "300m"}, {})],
        "minimum cpu usage per Pod is 1, but request is 900m",
    ),
    ("Pod", {"min": {"cpu": "1"}}, [({}, {})], "minimum cpu usage per Pod is 1.  No request is specified"),
    (
        "Pod",
        {"max": {"memory": "1Gi"}},
        [({}, {"memory": "1Gi"}), ({}, {"memory": "1Mi"})],
        "maximum memory usage per Pod is 1Gi, but limit is 1025Mi",
    ),
    ("Pod", {"max": {"memory": "1Gi"}}, [({}, {})], "maximum memory usage per Pod is 1Gi.  No limit is specified"),
    (
        "Pod",
        {"maxLimitRequestRatio": {"cpu": "2"}},
        [({"cpu": "300m"}, {"cpu": "1"})],
        f"{CPU_RATIO} Pod is 2, but provided ratio is 3.333333",
    ),
]


@pytest.mark.parametrize(("kind", "limits", "amounts", "text"), BOUNDS)
def test_what_exceeds_its_bounds_is_refused(
    cluster_api: ClusterApi,
    space: Workspace,
    kind: str,
    limits: Document,
    amounts: list[tuple[Document, Document]],
    text: str,
) -> None:
    limit(space, kind, **limits)
    sizes = [sized(*resources, name=f"c{index}") for index, resources in enumerate(amounts)]
    if cluster_api.side == "control-plane":  # since 1.28 a pod's amounts are added up as quantities
        text = text.replace("1025Mi", "1074790400")
    assert refusal(space, **template("web", containers=sizes)) == text


def test_an_init_container_counts_for_the_pod_where_it_needs_more(space: Workspace) -> None:
    limit(space, "Pod", max={"cpu": "2"})
    big, small = (sized(limits={"cpu": cpu}, name=f"c{cpu}") for cpu in "31")
    spec = {"containers": [small], "initContainers": [big]}
    text = "maximum cpu usage per Pod is 2, but limit is 3"
    assert refusal(space, **template("web", **spec)) == text
    pod(space, small, init=(small | {"name": "first"},))


def test_claims_have_bounds_whenever_they_are_written(space: Workspace) -> None:
    def claim(size: str) -> Document:
        return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}

    space.create(CLAIM, "older", spec=claim("3Gi"))
    limit(space, CLAIM, min={"storage": "1Gi"}, max={"storage": "2Gi"})
    usage = "storage usage per PersistentVolumeClaim is"
    assert refusal(space, CLAIM, spec=claim("512Mi")) == f"minimum {usage} 1Gi, but request is 512Mi"
    assert refusal(space, CLAIM, spec=claim("3Gi")) == f"maximum {usage} 2Gi, but request is 3Gi"
    space.create(CLAIM, "web", spec=claim("2Gi"))
    with pytest.raises(Refused) as refused:
        space.patch(CLAIM, "older", {"metadata": {"labels": {"seen": "yes"}}})
    assert refused.value.status["message"].endswith(f"maximum {usage} 2Gi, but request is 3Gi")
    space.delete(CLAIM, "older")
    space.eventually(lambda: space.find(CLAIM, "older") is None)


def test_the_pods_of_a_workload_are_refused(space: Workspace) -> None:
    limit(space, "Container", max={"cpu": "1"})
    selector = {"matchLabels": {"app": "web"}}
    pods = template("web", containers=[sized(limits={"cpu": "2"})])
    space.create("Deployment", "web", spec={"replicas": 1, "selector": selector, "template": pods})

    def failures() -> list[str]:
        statuses = [replica_set["status"] for replica_set in space.list("ReplicaSet")]
        return [condition["message"] for status in statuses for condition in status.get("conditions") or ()]

    (message,) = space.eventually(failures)
    assert message.endswith("is forbidden: maximum cpu usage per Container is 1, but limit is 2")
