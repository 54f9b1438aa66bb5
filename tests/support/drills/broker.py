"""Drills of the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.redis import opened
from airflowaks.steps import airflow, backend, key_vault
from tests.support.drills.drill import Drills

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Scene

BROKER = Drills()
_RESULTS = "AIRFLOW__CELERY__RESULT_BACKEND"
_MUTUAL_TLS = "AIRFLOW__CELERY__SSL_ACTIVE"
_MEGABYTE = 2**20


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


@BROKER.drill("AKA-605", by_hand=True)
def results_are_to_be_kept_in_redis(scene: Scene) -> Iterator[None]:
    scene.edit("worker", env=[{"name": _RESULTS, "value": "rediss://localhost:10000/0"}])
    yield
    scene.edit("worker", env=[{"name": _RESULTS, "$patch": "delete"}])


@BROKER.drill("AKA-606", by_hand=True)
def a_client_certificate_is_asked_for(scene: Scene) -> Iterator[None]:
    scene.edit("worker", env=[{"name": _MUTUAL_TLS, "value": "True"}])
    yield
    scene.edit("worker", env=[{"name": _MUTUAL_TLS, "$patch": "delete"}])


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
