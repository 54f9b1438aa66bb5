"""KEDA on the rehearsal's cluster: workers by what a real PostgreSQL answers."""

from __future__ import annotations

import asyncio
import base64
from importlib import resources
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from rehearsal_cloud.backends.postgresql import PostgresServer
from rehearsal_cloud.backends.postgresql_install import PostgresInstallation
from rehearsal_cloud.kubernetes import addons
from tests.support.workspace import Document, Refused, Workspace, template

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.broad, pytest.mark.parametrize("api_server", ["rehearsal"], indirect=True)]

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL with a table `queue`; returns how to connect."""
    installation = PostgresInstallation(tmp_path_factory.mktemp("keda") / "installation")
    server = PostgresServer(tmp_path_factory.mktemp("keda") / "pg", installation)

    async def start() -> None:
        await server.create("keda", "secret-of-keda")
        await server.start()

    asyncio.run(start())
    connection = f"host={server.socket.parent} user=keda password=secret-of-keda dbname=postgres"
    if server.socket.is_dir():
        connection = connection.replace(f"host={server.socket.parent}", f"host={server.socket}")
    with psycopg.connect(connection, autocommit=True) as made:
        made.execute("CREATE TABLE queue (state text)")
    yield connection
    asyncio.run(server.destroy())
    asyncio.run(installation.destroy())


@pytest.fixture
def space(cluster_api: Any) -> Iterator[Workspace]:
    space = Workspace(cluster_api.client, cluster_api.namespace)
    names = []
    for kind in ("scaledobjects", "triggerauthentications"):
        definition = yaml.safe_load((resources.files(addons) / "crds" / f"{kind}.yaml").read_text())
        space.call("POST", _DEFINITIONS, definition)
        names.append(definition["metadata"]["name"])
    yield space
    for name in names:
        space.call("DELETE", f"{_DEFINITIONS}/{name}")


def workers(space: Workspace, replicas: int, connection: str) -> None:
    encoded = base64.b64encode(connection.encode()).decode()
    space.create("Secret", "database", data={"connection": encoded})
    reference = {"secretKeyRef": {"name": "database", "key": "connection"}}
    container = {"name": "main", "image": "x", "env": [{"name": "DATABASE", "valueFrom": reference}]}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "worker"}}}
    pod = template("worker", containers=[container])
    space.create("Deployment", "worker", spec={**spec, "template": pod})


def scaled_object_path(space: Workspace, name: str = "") -> str:
    path = f"/apis/keda.sh/v1alpha1/namespaces/{space.namespace}/scaledobjects"
    return f"{path}/{name}" if name else path


def scale(space: Workspace, trigger: Document | None = None, **spec: Any) -> None:
    metadata = {"connectionFromEnv": "DATABASE", "query": "SELECT count(*) FROM queue", "targetQueryValue": "2"}
    body = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "worker"},
        "spec": {
            "scaleTargetRef": {"name": "worker"},
            "pollingInterval": 1,
            "cooldownPeriod": 1,
            "minReplicaCount": 0,
            "maxReplicaCount": 5,
            "triggers": [trigger or {"type": "postgresql", "metadata": metadata}],
            **spec,
        },
    }
    space.call("POST", scaled_object_path(space), body)


def condition(space: Workspace, kind: str) -> tuple[str, str, str]:
    status = space.call("GET", scaled_object_path(space, "worker")).get("status") or {}
    found = next((one for one in status.get("conditions") or () if one["type"] == kind), {})
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def replicas(space: Workspace) -> int:
    found: int = space.get("Deployment", "worker")["spec"]["replicas"]
    return found


def autoscaler(space: Workspace) -> Document | None:
    path = f"/apis/autoscaling/v2/namespaces/{space.namespace}/horizontalpodautoscalers/keda-hpa-worker"
    try:
        return space.call("GET", path)
    except Refused:
        return None


def fill(connection: str, count: int) -> None:
    with psycopg.connect(connection, autocommit=True) as made:
        made.execute("TRUNCATE queue")
        made.execute("INSERT INTO queue SELECT 'queued' FROM generate_series(1, %s)", (count,))


def test_workers_come_with_work_and_go_without(space: Workspace, database: str) -> None:
    fill(database, 0)
    workers(space, 0, database)
    scale(space)
    text = "ScaledObject is defined correctly and is ready for scaling"
    space.eventually(lambda: condition(space, "Ready") == ("True", "ScaledObjectReady", text))
    space.eventually(lambda: condition(space, "Active")[:2] == ("False", "ScalerNotActive"))
    assert replicas(space) == 0
    fill(database, 7)
    space.eventually(lambda: replicas(space) > 0)
    text = "Scaling is performed because triggers are active"
    space.eventually(lambda: condition(space, "Active") == ("True", "ScalerActive", text))
    # From one on it is the autoscaler's, which looks every 15 seconds: seven rows at two a worker.
    space.eventually(lambda: replicas(space) == 4)
    fill(database, 0)
    space.eventually(lambda: replicas(space) == 0)


def test_the_autoscaler_is_the_scaled_object_s_and_goes_with_it(space: Workspace, database: str) -> None:
    fill(database, 0)
    workers(space, 1, database)
    scale(space, minReplicaCount=1)
    made = space.eventually(lambda: autoscaler(space))
    assert made["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"}
    assert (made["spec"]["minReplicas"], made["spec"]["maxReplicas"]) == (1, 5)
    (metric,) = made["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == "s0-postgresql"
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "2"}
    space.call("DELETE", scaled_object_path(space, "worker"))
    space.eventually(lambda: autoscaler(space) is None)


def somebodys(space: Workspace, least: int) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"}
    spec = {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": 5}
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": spec}
    space.call("POST", f"/apis/autoscaling/v2/namespaces/{space.namespace}/horizontalpodautoscalers", body)


def test_an_autoscaler_keeps_its_minimum_without_metrics(space: Workspace, database: str) -> None:
    """As `reconcileAutoscaler` of pkg/controller/podautoscaler/horizontal.go does."""
    workers(space, 1, database)
    somebodys(space, 3)
    space.eventually(lambda: replicas(space) == 3)


def test_two_autoscalers_of_the_same_pods_scale_nothing(space: Workspace, database: str) -> None:
    fill(database, 2)
    workers(space, 1, database)
    scale(space)
    space.eventually(lambda: autoscaler(space) is not None)
    somebodys(space, 1)
    path = f"/apis/autoscaling/v2/namespaces/{space.namespace}/horizontalpodautoscalers/a"

    def said() -> str:
        status = space.call("GET", path).get("status") or {}
        return " ".join(
            one["message"] for one in status.get("conditions") or () if one["reason"] == "AmbiguousSelector"
        )

    space.eventually(lambda: "are controlled by multiple HPAs: [" in said())


def test_a_query_that_fails_is_told_and_scales_nothing(space: Workspace, database: str) -> None:
    workers(space, 2, database)
    metadata = {"connectionFromEnv": "DATABASE", "query": "SELECT nothing", "targetQueryValue": "2"}
    scale(space, {"type": "postgresql", "metadata": metadata})
    text = "Triggers defined in ScaledObject are not working correctly"
    space.eventually(lambda: condition(space, "Ready") == ("False", "TriggerError", text))
    told = [one["message"] for one in space.list("Event") if one["reason"] == "KEDAScalerFailed"]
    assert 'column "nothing" does not exist' in told[0]
    assert replicas(space) == 2


def test_a_connection_that_is_refused_is_told_without_its_password(space: Workspace, database: str) -> None:
    workers(space, 1, database.replace("secret-of-keda", "secret-that-is-wrong") + " port=1")
    scale(space)
    space.eventually(lambda: condition(space, "Ready")[1] == "TriggerError")
    assert "secret-that-is-wrong" not in str(space.list("Event"))


def test_a_scaler_that_is_not_known_is_told(space: Workspace, database: str) -> None:
    workers(space, 1, database)
    scale(space, {"type": "crystal-ball", "metadata": {}})
    text = "no scaler found for type: crystal-ball"
    space.eventually(lambda: condition(space, "Ready") == ("False", "ScaledObjectCheckFailed", text))


def test_a_target_that_is_missing_is_told(space: Workspace, database: str) -> None:
    scale(space)
    text = 'ScaledObject doesn\'t have correct scaleTargetRef specification: deployments.apps "worker" not found'
    space.eventually(lambda: condition(space, "Ready") == ("False", "ScaledObjectCheckFailed", text))
    workers(space, 0, database)
    space.eventually(lambda: condition(space, "Ready")[0] == "True")


def test_a_paused_scaled_object_stays_at_the_replicas_it_is_told(space: Workspace, database: str) -> None:
    fill(database, 7)
    workers(space, 1, database)
    scale(space, minReplicaCount=1)
    space.eventually(lambda: autoscaler(space))
    change = {"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": "3"}}}
    space.call("PATCH", scaled_object_path(space, "worker"), change, "application/merge-patch+json")
    space.eventually(lambda: condition(space, "Paused") == ("True", "ScaledObjectPaused", "ScaledObject is paused"))
    space.eventually(lambda: replicas(space) == 3)
    assert autoscaler(space) is None


def test_secrets_of_a_trigger_authentication_are_used(space: Workspace, database: str) -> None:
    fill(database, 1)
    workers(space, 0, "not used")
    encoded = base64.b64encode(database.encode()).decode()
    space.create("Secret", "keda", data={"connection": encoded})
    target = [{"parameter": "connection", "name": "keda", "key": "connection"}]
    path = f"/apis/keda.sh/v1alpha1/namespaces/{space.namespace}/triggerauthentications"
    body = {"apiVersion": "keda.sh/v1alpha1", "kind": "TriggerAuthentication", "metadata": {"name": "keda"}}
    space.call("POST", path, {**body, "spec": {"secretTargetRef": target}})
    metadata = {"query": "SELECT count(*) FROM queue", "targetQueryValue": "2"}
    scale(space, {"type": "postgresql", "metadata": metadata, "authenticationRef": {"name": "keda"}})
    space.eventually(lambda: replicas(space) == 1)
