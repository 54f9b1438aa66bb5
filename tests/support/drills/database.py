"""Drills of the database."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import psycopg

from airflowaks.azure.database_role import connect
from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.kube.client import Reference
from airflowaks.steps import backend, key_vault
from tests.support.deployed import NAMESPACE
from tests.support.drills.drill import NAME, Drills

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Scene

DATABASE = Drills()
_COMPONENT = "triggerer"
_CONNECTION = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_MOST_CONNECTIONS = 1000
_NEARLY_ALL, _LONG_SECONDS = 90, 60
_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
_POOL = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "1",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "0",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_ENGINE_ARGS": '{"pool_timeout": 5}',
}
_SETTINGS = Reference("v1", "ConfigMap", "airflow-configuration", NAMESPACE)


@DATABASE.drill("AKA-501")
def the_server_is_stopped(scene: Scene) -> Iterator[None]:
    server = scene.step(backend).server
    scene.session.postgresql.servers.begin_stop(server.group, server.name).result()
    yield


@DATABASE.drill("AKA-502", proof=backend)
def the_clusters_firewall_rule_is_deleted(scene: Scene) -> Iterator[None]:
    """Airflow and the operator, who comes through the cluster, are locked out."""
    server, name = scene.step(backend).server, backend.CLUSTER_RULE
    scene.session.postgresql.firewall_rules.begin_delete(server.group, server.name, name).result()
    yield


@DATABASE.drill("AKA-502")
def the_server_is_closed_to_the_internet(scene: Scene) -> Iterator[None]:
    server = scene.step(backend).server
    parameters: Any = {"properties": {"network": {"publicNetworkAccess": "Disabled"}}}
    scene.session.postgresql.servers.begin_update(server.group, server.name, parameters).result()
    yield


@DATABASE.drill("AKA-503")
def the_vaults_url_does_without_tls(scene: Scene) -> Iterator[None]:
    step4 = scene.step(key_vault)
    secret = step4.sql_connection
    url = secret.require("value").reveal().partition("?")[0]
    step4.vault.secrets.set_secret(secret.name, f"{url}?sslmode=disable")
    scene.await_synced()
    scene.replace(_COMPONENT)
    yield


@DATABASE.drill("AKA-504")
def the_database_is_given_to_somebody_else(scene: Scene) -> Iterator[None]:
    step3 = scene.step(backend)
    scene.administer(f"GRANT {step3.role.name} TO CURRENT_USER")
    scene.administer(f'ALTER DATABASE {step3.database.name} OWNER TO "{step3.administrator.name}"')
    yield


@DATABASE.drill("AKA-504")
def the_role_is_denied_the_schema(scene: Scene) -> Iterator[None]:
    step3 = scene.step(backend)
    statement = f"REVOKE ALL ON SCHEMA public FROM {step3.role.name}"
    scene.administer(statement, database=step3.database.name)
    yield


@DATABASE.drill("AKA-507", fast=True, proof=key_vault)
def the_password_is_changed_in_the_database_alone(scene: Scene) -> Iterator[None]:
    scene.administer(f"ALTER ROLE {scene.step(backend).role.name} PASSWORD 'of-somebody-else'")
    yield


@DATABASE.drill("AKA-507", proof=key_vault)
def celerys_password_is_changed_in_the_database_alone(scene: Scene) -> Iterator[None]:
    scene.administer(f"ALTER ROLE {scene.step(backend).celery_role.name} PASSWORD 'of-somebody-else'")
    yield


@DATABASE.drill("AKA-508")
def connections_are_used_up(scene: Scene) -> Iterator[None]:
    step3, url = scene.step(backend), _url(scene)
    with ExitStack() as opened:
        with suppress(psycopg.OperationalError):
            for _ in range(_MOST_CONNECTIONS):
                opened.enter_context(connect(step3.server, url.database, url.user, url.password))
        yield


@DATABASE.drill("AKA-508", by_hand=True)
def somebody_else_holds_nearly_all_connections(scene: Scene) -> Iterator[None]:
    """Some are left, so that the diagnosis can tell who holds the others."""
    with ExitStack() as opened:
        used = 0
        while used < _NEARLY_ALL:
            connection = opened.enter_context(_as_airflow(scene))
            connection.execute("SET application_name = 'drill'")
            (used,) = connection.execute("SELECT sum(numbackends)::int FROM pg_stat_database").fetchone()
            connection.commit()
        yield


@DATABASE.drill("AKA-516")
def the_database_is_set_read_only(scene: Scene) -> Iterator[None]:
    scene.as_airflow(f"ALTER DATABASE {_url(scene).database} SET default_transaction_read_only = on")
    _end_sessions(scene)
    yield


@DATABASE.drill("AKA-516")
def the_server_is_set_read_only(scene: Scene) -> Iterator[None]:
    """As Azure does when the storage is nearly full."""
    _configure(scene, "default_transaction_read_only", "on")
    yield


def _end_sessions(scene: Scene) -> None:
    scene.administer(_END_SESSIONS, _url(scene).database)


@DATABASE.drill("AKA-517")
def a_transaction_by_hand_locks_the_heartbeats(scene: Scene) -> Iterator[None]:
    with _as_airflow(scene) as connection, suppress(psycopg.OperationalError):
        connection.execute("UPDATE job SET latest_heartbeat = latest_heartbeat")
        yield
        connection.rollback()


@DATABASE.drill("AKA-518")
def a_transaction_is_left_open(scene: Scene) -> Iterator[None]:
    with _as_airflow(scene) as connection, suppress(psycopg.OperationalError):
        connection.execute("SELECT FROM slot_pool FOR UPDATE")
        time.sleep(_LONG_SECONDS)
        yield
        connection.rollback()


@DATABASE.drill("AKA-515", by_hand=True)
def a_pool_of_one_connection(scene: Scene) -> Iterator[None]:
    """The api-server takes a second connection while it starts, and ends without it; a scheduler copes with one."""
    scene.edit("api-server", env=[{"name": name, "value": value} for name, value in _POOL.items()])
    yield
    scene.edit("api-server", env=[{"name": name, "$patch": "delete"} for name in _POOL])


@DATABASE.drill("AKA-519")
def sessions_may_be_idle_for_a_minute(scene: Scene) -> Iterator[None]:
    _configure(scene, "idle_session_timeout", "60000")
    yield


def _as_airflow(scene: Scene) -> psycopg.Connection[Any]:
    """Return a connection of the role that owns Airflow's database, as the operator's psql has."""
    url = _url(scene)
    return connect(scene.step(backend).server, url.database, url.user, url.password)


def _url(scene: Scene) -> DatabaseUrl:
    return DatabaseUrl.parse(scene.step(key_vault).sql_connection.require("value").reveal())


@DATABASE.drill("AKA-509")
def the_role_may_not_log_in(scene: Scene) -> Iterator[None]:
    scene.administer(f"ALTER ROLE {scene.step(backend).role.name} NOLOGIN")
    yield


@DATABASE.drill("AKA-510")
def the_database_has_another_name(scene: Scene) -> Iterator[None]:
    name = scene.step(backend).database.name
    _rename(scene, name, "elsewhere")
    yield
    _rename(scene, "elsewhere", name)


def _rename(scene: Scene, name: str, other: str) -> None:
    scene.administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    scene.administer(_END_SESSIONS, name)
    scene.administer(f"ALTER DATABASE {name} RENAME TO {other}")
    scene.administer(f"ALTER DATABASE {other} ALLOW_CONNECTIONS true")


@DATABASE.drill("AKA-511")
def pods_are_not_told_whom_to_trust(scene: Scene) -> Iterator[None]:
    scene.patch(_SETTINGS, {"data": {"SSL_CERT_FILE": None}}, "application/merge-patch+json")
    scene.replace(_COMPONENT)
    yield


@DATABASE.drill("AKA-513")
def pods_are_told_of_a_server_that_is_not_there(scene: Scene) -> Iterator[None]:
    url = "postgresql+psycopg2://airflow@nobodys-server.postgres.database.azure.com:5432/airflow"
    scene.edit(_COMPONENT, env=[{"name": _CONNECTION, "value": url}])
    yield
    scene.edit(_COMPONENT, env=[{"name": _CONNECTION, "$patch": "delete"}])


@DATABASE.drill("AKA-514")
def the_administrator_is_removed(scene: Scene) -> Iterator[None]:
    administrator = scene.step(backend).administrator
    operations = scene.session.postgresql.administrators_microsoft_entra
    operations.begin_delete(
        administrator.group, administrator.server.name, administrator.id.rpartition("/")[2]
    ).result()
    yield


@DATABASE.drill("AKA-506")
def a_task_asks_for_an_extension_that_is_not_allowed(scene: Scene) -> Iterator[None]:
    url = _url(scene)
    known = {
        "connection_id": NAME,
        "conn_type": "generic",
        "host": url.host,
        "port": url.port,
        "schema": url.database,
        "login": url.user,
    }
    with scene.kept("connections", **known, password=url.password):
        scene.fail("extension")
        yield
        _allow(scene, "hstore")
        scene.await_run("extension", scene.run_dag("extension"), "success")
    scene.forget_failures()
    _allow(scene, "")


def _allow(scene: Scene, extensions: str) -> None:
    _configure(scene, "azure.extensions", extensions)


def _configure(scene: Scene, name: str, value: str) -> None:
    """Set a parameter of the server."""
    server = scene.step(backend).server
    parameters: Any = {"properties": {"value": value, "source": "user-override"}}
    operations = scene.session.postgresql.configurations
    operations.begin_update(server.group, server.name, name, parameters).result()
