"""Resource quotas: what they refuse in which words, and what they count; the same as a real control plane's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.workspace import Document, Refused, Workspace, template

if TYPE_CHECKING:
    from tests.support.control_plane import ClusterApi


@pytest.fixture
def space(cluster_api: ClusterApi) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def quota(space: Workspace, name: str = "small", scopes: tuple[str, ...] = (), **hard: str) -> None:
    """Make a quota (`requests_cpu` for requests.cpu) and wait until the server counts it."""
    path = f"/api/v1/namespaces/{space.namespace}/resourcequotas"
    amounts = {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}
    spec = {"hard": amounts, **({"scopes": list(scopes)} if scopes else {})}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec}
    space.call("POST", path, body)
    space.eventually(lambda: status(space, name).get("used"))


def status(space: Workspace, name: str = "small") -> Document:
    found: Document = space.call("GET", f"/api/v1/namespaces/{space.namespace}/resourcequotas/{name}")
    return found.get("status") or {}


def pod(space: Workspace, name: str, requests: Document | None = None, limits: Document | None = None) -> None:
    resources = {"requests": requests or {}, "limits": limits or {}}
    container = {"name": "main", "image": "example.com/web:1", "resources": resources}
    space.create("Pod", name, **template("web", containers=[container]))


def refusal(space: Workspace, kind: str, name: str, **fields: Any) -> str:
    with pytest.raises(Refused) as refused:
        space.create(kind, name, **fields)
    assert (refused.value.status["code"], refused.value.status["reason"]) == (403, "Forbidden")
    message: str = refused.value.status["message"]
    return message


def test_a_quota_refuses_what_would_exceed_it(space: Workspace) -> None:
    quota(space, pods="1", requests_cpu="1", limits_memory="1Gi")
    amounts = {"requests": {"cpu": "600m"}, "limits": {"memory": "512Mi"}}
    pod(space, "first", **amounts)
    used = {"pods": "1", "requests.cpu": "600m", "limits.memory": "512Mi"}
    space.eventually(lambda: status(space)["used"] == used)
    assert status(space)["hard"] == {"pods": "1", "requests.cpu": "1", "limits.memory": "1Gi"}
    container = {"name": "main", "image": "example.com/web:1", "resources": amounts}
    assert refusal(space, "Pod", "second", **template("web", containers=[container])) == (
        'pods "second" is forbidden: exceeded quota: small, requested: pods=1,requests.cpu=600m, used:'
        " pods=1,requests.cpu=600m, limited: pods=1,requests.cpu=1"
    )
    space.delete("Pod", "first", gracePeriodSeconds=0)
    space.eventually(lambda: status(space)["used"]["pods"] == "0")
    pod(space, "second", **amounts)


def test_a_pod_must_say_what_a_quota_counts(cluster_api: ClusterApi, space: Workspace) -> None:
    quota(space, limits_cpu="1", requests_memory="1Gi", pods="5")
    # The containers are named since 1.22.
    of = " for: main" if cluster_api.side == "rehearsal" else ""
    between = "; " if of else ","
    text = f"failed quota: small: must specify limits.cpu{of}{between}requests.memory{of}"
    assert refusal(space, "Pod", "plain", **template("web")) == f'pods "plain" is forbidden: {text}'


def test_pods_of_a_replica_set_are_refused_and_its_condition_says_so(space: Workspace) -> None:
    quota(space, pods="1")
    selector = {"matchLabels": {"app": "web"}}
    space.create("Deployment", "web", spec={"replicas": 2, "selector": selector, "template": template("web")})

    def failure() -> str:
        conditions = [
            condition
            for replica_set in space.list("ReplicaSet")
            for condition in replica_set["status"].get("conditions") or ()
        ]
        return next((found["message"] for found in conditions if found["reason"] == "FailedCreate"), "")

    def attempts() -> int:
        return sum(event["reason"] == "FailedCreate" for event in space.list("Event"))

    def kept() -> str:
        message, before = failure(), attempts()
        space.eventually(lambda: attempts() > before + 1)
        return message if failure() == message else ""

    # The condition stays as it was, and each further attempt waits twice as long as the one before. At first a real
    # controller may not have seen its own condition or pod yet, and then writes it anew or takes it away.
    message = space.eventually(kept)
    assert message.endswith("is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1")
    time.sleep(1)
    assert attempts() < 14
    assert len(space.pods(app="web")) == 1
    space.call("DELETE", f"/api/v1/namespaces/{space.namespace}/resourcequotas/small")
    space.eventually(lambda: len(space.list("Pod")) == 2)


def test_objects_are_counted(space: Workspace) -> None:
    quota(space, services="1", services_nodeports="0", count__deployments_apps="0", requests_storage="1Gi")
    port = {"port": 80}
    exposed = {"spec": {"type": "NodePort", "ports": [port]}}
    text = "requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0"
    assert (
        refusal(space, "Service", "open", **exposed) == f'services "open" is forbidden: exceeded quota: small, {text}'
    )
    space.create("Service", "first", spec={"ports": [port]})
    space.eventually(lambda: status(space)["used"]["services"] == "1")
    assert "requested: services=1, used: services=1" in refusal(space, "Service", "second", spec={"ports": [port]})
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template("web")}
    assert 'deployments.apps "web" is forbidden: exceeded quota: small, requested: count/deployments.apps=1' in refusal(
        space, "Deployment", "web", spec=spec
    )
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}, "storageClassName": "c"}
    assert "requests.storage=2Gi, used: requests.storage=0, limited: requests.storage=1Gi" in refusal(
        space, "PersistentVolumeClaim", "big", spec=claim
    )


def test_a_scope_selects_the_pods_that_count(space: Workspace) -> None:
    quota(space, scopes=("BestEffort",), pods="0")
    pod(space, "sized", {"cpu": "1m"})
    assert "exceeded quota: small, requested: pods=1" in refusal(space, "Pod", "any", **template("web"))
