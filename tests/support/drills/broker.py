"""Drills of the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import redis

from airflowaks.azure.redis import opened
from airflowaks.engine.polling import wait_until
from airflowaks.kube.client import Reference
from airflowaks.steps import airflow, backend, key_vault
from tests.support.deployed import NAMESPACE
from tests.support.drills.drill import Drills

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Scene

BROKER = Drills()
_RESULTS = "AIRFLOW__CELERY__RESULT_BACKEND"
_MUTUAL_TLS = "AIRFLOW__CELERY__SSL_ACTIVE"
_MEGABYTE = 2**20
_QUEUE, _QUEUED_SECONDS = "another", 120.0
_SETTINGS = Reference("v1", "ConfigMap", "airflow-configuration", NAMESPACE)
_VISIBILITY = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"


def _update(scene: Scene, **properties: str) -> None:
    database = scene.step(backend).broker
    parameters: Any = {"properties": properties}
    operations = scene.session.managed_redis.databases
    operations.begin_update(database.group, database.parent.name, database.name, parameters).result()


@BROKER.drill("AKA-601")
def the_broker_is_clustered(scene: Scene) -> Iterator[None]:
    """A database with a policy that Celery cannot cope with takes the place of the one there was."""
    _make_anew(scene, "OSSCluster")
    yield
    _delete(scene)
    backend.servers(scene.session)
    key_vault.secrets(scene.session)
    airflow.components(scene.session)


def _make_anew(scene: Scene, policy: str) -> None:
    database = scene.step(backend).broker
    wanted = database.desired()
    _delete(scene)
    database.put({"properties": {**wanted["properties"], "clusteringPolicy": policy}})


def _delete(scene: Scene) -> None:
    database = scene.step(backend).broker
    operations = scene.session.managed_redis.databases
    operations.begin_delete(database.group, database.parent.name, database.name).result()


def _rewrite(scene: Scene, old: str, new: str) -> None:
    """Put another broker's URL into the vault."""
    step4 = scene.step(key_vault)
    held = step4.broker_url.require("value").reveal()
    assert old in held
    step4.vault.secrets.set_secret(step4.broker_url.name, held.replace(old, new, 1))


@BROKER.drill("AKA-602")
def the_vaults_url_names_another_database(scene: Scene) -> Iterator[None]:
    _rewrite(scene, "/0?", "/5?")
    yield


@BROKER.drill("AKA-603")
def access_keys_are_switched_off(scene: Scene) -> Iterator[None]:
    _update(scene, accessKeysAuthentication="Disabled")
    yield


@BROKER.drill("AKA-603")
def the_key_in_use_is_renewed(scene: Scene) -> Iterator[None]:
    scene.step(backend).broker.call("begin_regenerate_key", {"keyType": "Primary"})
    yield


@BROKER.drill("AKA-604")
def the_brokers_url_does_without_tls(scene: Scene) -> Iterator[None]:
    _rewrite(scene, "rediss://", "redis://")
    yield


@BROKER.drill("AKA-605", changes=("AKA-822",))
def results_are_to_be_kept_in_redis(scene: Scene) -> Iterator[None]:
    scene.edit("worker", env=[{"name": _RESULTS, "value": "rediss://localhost:10000/0"}])
    yield


@BROKER.drill("AKA-606", changes=("AKA-822",))
def a_client_certificate_is_asked_for(scene: Scene) -> Iterator[None]:
    scene.edit("worker", env=[{"name": _MUTUAL_TLS, "value": "True"}])
    yield


@BROKER.drill("AKA-607")
def memory_is_used_up(scene: Scene) -> Iterator[None]:
    step4 = scene.step(key_vault)
    url = step4.broker_url.require("value").reveal()
    with opened(url, scene.session.connection.ca_file, step4.route) as client:
        names = []
        while (memory := client.info("memory"))["used_memory"] < 0.92 * memory["maxmemory"]:
            names.append(f"drill-{len(names)}")
            client.set(names[-1], bytes(_MEGABYTE))
        yield
        client.delete(*names)


@BROKER.drill("AKA-608", proof=backend)
def the_broker_may_evict(scene: Scene) -> Iterator[None]:
    _update(scene, evictionPolicy="AllKeysLRU")
    yield


@BROKER.drill("AKA-609", also=("AKA-006",))
def the_broker_is_closed_to_the_internet(scene: Scene) -> Iterator[None]:
    instance = scene.step(backend).broker.parent
    parameters: Any = {"properties": {"publicNetworkAccess": "Disabled"}}
    operations = scene.session.managed_redis.redis_enterprise
    operations.begin_update(instance.group, instance.name, parameters).result()
    yield


@BROKER.drill("AKA-610", by_hand=True)
def the_broker_fails_over(scene: Scene) -> Iterator[None]:
    """What was the primary follows another node, and its name does not lead to that yet."""
    with _as_azure(scene) as valkey:
        valkey.execute_command("REPLICAOF", "127.0.0.1", "9")
        yield
        valkey.execute_command("REPLICAOF", "NO", "ONE")


@BROKER.drill("AKA-611", by_hand=True, also=("AKA-006",))
def somebody_else_takes_all_clients(scene: Scene) -> Iterator[None]:
    with _as_azure(scene) as valkey:
        valkey.config_set("maxclients", valkey.info("clients")["connected_clients"])
        yield
        valkey.config_set("maxclients", 10_000)


def _as_azure(scene: Scene) -> redis.Redis:
    """Return a client with the rights of the service itself, which alone may do this."""
    (configuration,) = scene.cloud.home.glob("services/*/valkey.conf")
    folder = configuration.parent
    socket, password = str(folder / "run/valkey.sock"), (folder / "password").read_text()
    return redis.Redis(unix_socket_path=socket, username="rehearsal", password=password)


@BROKER.drill("AKA-612")
def a_queue_is_deleted(scene: Scene) -> Iterator[None]:
    run = scene.run_dag("another_queue")
    step4 = scene.step(key_vault)
    url = step4.broker_url.require("value").reveal()
    with opened(url, scene.session.connection.ca_file, step4.route) as client, scene.api() as api:
        wait_until(lambda: client.llen(_QUEUE), bool, _QUEUED_SECONDS)
        client.delete(_QUEUE)
        yield
        assert wait_until(lambda: client.llen(_QUEUE), bool, _QUEUED_SECONDS), "the task was not queued again"
        client.delete(_QUEUE)
        path = f"/api/v2/dags/another_queue/dagRuns/{quote(run)}"
        api._send("PATCH", path, {"state": "failed"})
        api._send("DELETE", path)


@BROKER.drill("AKA-613", changes=("AKA-807",))
def the_broker_repeats_messages_soon(scene: Scene) -> Iterator[None]:
    scene.patch(_SETTINGS, {"data": {_VISIBILITY: "30"}}, "application/merge-patch+json")
    run = scene.run_dag("takes_long")
    yield
    scene.await_run("takes_long", run, "success")
