"""Reads the state of database and broker, opened with Airflow's own secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.database_role import TOKEN_SCOPE, connect, read_row
from airflowaks.azure.redis import opened
from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.diagnosis.facts.services import Broker, Database, Role
from airflowaks.steps import backend, key_vault

if TYPE_CHECKING:
    from airflowaks.azure.key_vault import VaultSecret
    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.session import Session

_AS_OWNER = """
    SELECT (SELECT pg_get_userbyid(datdba) = current_user FROM pg_database WHERE datname = current_database()) AS owner,
           has_schema_privilege(current_user, 'public', 'CREATE') AS creates,
           to_regclass('alembic_version') IS NOT NULL AS migrated,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
               AS most_connections
"""
_OF_THE_ROLE = "SELECT rolcanlogin AS login FROM pg_roles WHERE rolname = %s"


def database(session: Session, _scope: Scope) -> dict[str, Any]:
    """Log in to Airflow's database; read privileges, migration and connections."""
    return {"database": _as_owner(session, session.memoize(key_vault.Resources).sql_connection)}


def celery(session: Session, _scope: Scope) -> dict[str, Any]:
    """Log in to Celery's database; read privileges."""
    return {"celery": _as_owner(session, session.memoize(key_vault.Resources).result_backend)}


def _as_owner(session: Session, secret: VaultSecret) -> Database:
    """Log in with the vault's URL over verified TLS."""
    server, url = session.memoize(backend.Resources).server, DatabaseUrl.parse(_value(secret))
    with connect(server, url.database, url.user, url.password) as connection:
        return Database(**(read_row(connection, _AS_OWNER) or {}))


def administrator(session: Session, _scope: Scope) -> dict[str, Any]:
    """Sign in as administrator with a token; read whether Airflow's role exists and can log in."""
    step3 = session.memoize(backend.Resources)
    token = session.token(TOKEN_SCOPE)
    with connect(step3.server, "postgres", step3.administrator.name, token) as connection:
        row = read_row(connection, _OF_THE_ROLE, step3.role.name)
    return {"role": Role(**row) if row else Role(exists=False, login=False)}


def broker(session: Session, _scope: Scope) -> dict[str, Any]:
    """Read the broker's memory and eviction policy with the vault's URL. Raises CheckFailed if the URL lacks TLS."""
    step4 = session.memoize(key_vault.Resources)
    with opened(_value(step4.broker_url), session.connection.ca_file, step4.route) as client:
        memory: dict[str, Any] = client.info("memory")
    most, policy = memory.get("maxmemory", 0), memory.get("maxmemory_policy", "noeviction")
    return {"broker": Broker(memory["used_memory"], most, policy)}


def _value(secret: VaultSecret) -> str:
    with secret.session.translated(secret):
        return str(secret.require("value").reveal())
