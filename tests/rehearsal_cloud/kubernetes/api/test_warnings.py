"""The warnings of a 1.36 control plane, as measured: what is valid and hardly meant so, and what is deprecated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.workspace import Workspace

if TYPE_CHECKING:
    from tests.support.control_plane import ClusterApi

pytestmark = pytest.mark.parametrize("api_server", ["rehearsal"], indirect=True)

HIDES = 'hides previous definition of "A", which may be dropped when using apply'
PORT = {"containerPort": 80}


def warning(api: ClusterApi, method: str, path: str, body: Any = None) -> str:
    status, answer, headers = api.exchange(method, path, body)
    assert status < 400, answer
    return headers.get("warning", "")


@pytest.mark.parametrize(
    ("container", "spec", "text"),
    [
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
            {},
            f"spec.containers[0].env[1]: {HIDES}",
        ),
        ({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]}, {}, ""),
        (
            {"ports": [PORT, PORT]},
            {},
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        ),
        (
            {"ports": [PORT, {**PORT, "hostPort": 80}]},
            {},
            "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
        ),
        ({"ports": [PORT, {**PORT, "protocol": "UDP"}]}, {}, ""),
        (
            {"resources": {"limits": {"memory": "1500m"}}},
            {},
            'spec.containers[0].resources.limits[memory]: fractional byte value "1500m" is invalid, must be an integer',
        ),
        (
            {},
            {"nodeSelector": {"beta.kubernetes.io/os": "linux"}},
            'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        ),
    ],
)
def test_pods_and_templates(
    cluster_api: ClusterApi, container: dict[str, Any], spec: dict[str, Any], text: str
) -> None:
    pod = {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i", **container}], **spec}
    space = Workspace(cluster_api.client, cluster_api.namespace)
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
    heads = warning(cluster_api, "POST", f"{space.path('Pod')}?dryRun=All", body).replace('\\"', '"').split(", 299 - ")
    assert [head.removeprefix("299 - ").strip('"') for head in heads][:1] == [text]
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod}
    workload = {"selector": {"matchLabels": {"app": "x"}}, "template": template, "replicas": 0}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": workload}
    given = warning(cluster_api, "POST", space.path("Deployment"), body)
    assert given.startswith('299 - "spec.template.spec.') if text else given == ""
    # Another write that leaves the template as it is says nothing.
    path = space.path("Deployment", "x")
    _, _, headers = cluster_api.exchange(
        "PATCH", path, {"spec": {"paused": True}}, media="application/merge-patch+json"
    )
    assert "warning" not in headers


def test_a_deprecated_kind(cluster_api: ClusterApi) -> None:
    path = f"/api/v1/namespaces/{cluster_api.namespace}/endpoints"
    text = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    assert warning(cluster_api, "GET", path) == f'299 - "{text}"'


@pytest.mark.parametrize(
    ("method", "media"),
    [
        ("POST", "application/json"),
        ("PUT", "application/json"),
        ("PATCH", "application/merge-patch+json"),
        ("PATCH", "application/strategic-merge-patch+json"),
    ],
)
def test_unknown_fields_by_default(cluster_api: ClusterApi, method: str, media: str) -> None:
    space = Workspace(cluster_api.client, cluster_api.namespace)
    path, body = space.path("ConfigMap"), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    if method != "POST":
        assert cluster_api.send("POST", path, body)[0] == 201
        path += "/x"
    status, answer, headers = cluster_api.exchange(method, f"{path}?dryRun=All", {**body, "bogus": 1}, media=media)
    assert status < 400, answer
    assert headers.get("warning") == '299 - "unknown field \\"bogus\\""'
