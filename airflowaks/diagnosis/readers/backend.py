"""Reads the state of database and broker, opened with Airflow's own secrets, and of transactions as administrator.

A role sees name and application of all sessions, and what they do of its own; the administrator, as a member of
azure_pg_admin, sees and ends all but Azure's own:
https://learn.microsoft.com/azure/postgresql/troubleshoot/how-to-high-cpu-utilization#terminate-long-running-transactions
https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflowaks.azure.database_role import connect, read_row, sign_in
from airflowaks.azure.redis import opened
from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.diagnosis.facts.services import Broker, Database, Role, Transaction
from airflowaks.diagnosis.readers.shared import shared
from airflowaks.errors import AirflowAksError
from airflowaks.steps import backend, key_vault

if TYPE_CHECKING:
    import psycopg
    import redis

    from airflowaks.azure.vault_secret import VaultSecret
    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.session import Session

_KEYS, _MOST_ADDRESSES, _NEARLY_ALL = 1000, 4, 0.9
_PRIORITY, _REPLIES = "\x06\x16", ".pidbox"
_AS_OWNER = """
    SELECT (SELECT pg_get_userbyid(datdba) = current_user FROM pg_database WHERE datname = current_database()) AS owner,
           has_schema_privilege(current_user, 'public', 'CREATE') AS creates,
           to_regclass('alembic_version') IS NOT NULL AS migrated,
           NOT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema()
                       AND tablename NOT IN ('celery_taskmeta', 'celery_tasksetmeta')) AS empty,
           (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL) AS connections,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', TRUE)::int, 0) AS most_connections,
           (SELECT json_object_agg(name, count ORDER BY count DESC) FROM (
               SELECT usename || coalesce(' (' || nullif(application_name, '') || ')', '')
                      || coalesce(' from ' || host(client_addr), '') AS name, count(*) AS count
               FROM pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL
               GROUP BY 1 ORDER BY 2 DESC LIMIT 4) AS clients) AS clients,
           CASE WHEN pg_is_in_recovery() THEN 'recovery' WHEN current_setting('default_transaction_read_only')::bool
               THEN (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') ELSE '' END
               AS read_only,
           coalesce((SELECT setting::float / 1000 FROM pg_settings WHERE name = 'idle_session_timeout'), 0)
               AS idle_seconds
"""
# A statement that waits for a lock ends soon: those of other parts wait for the same connection.
_READING = "SET statement_timeout = '10s'; SET lock_timeout = '3s'; SET default_transaction_read_only = on"
_SCHEMA = "SELECT string_agg(version_num, ', ' ORDER BY version_num) AS schema FROM alembic_version"
_SENT = """
    SELECT (count(*) FILTER (WHERE state = 'queued' AND queued_dttm < now() - interval '1 minute'))::int AS sent,
           (count(*) FILTER (WHERE state = 'running' AND start_date < now() - interval '1 minute'))::int AS started
    FROM task_instance WHERE state IN ('running', 'queued')
"""
_OF_THE_ROLE = "SELECT rolcanlogin AS login FROM pg_roles WHERE rolname = %s"
# Of a statement only its first word is read, which is never a value. pg_blocking_pids locks the lock manager for a
# moment, so it is asked of waiting sessions alone: https://www.postgresql.org/docs/current/functions-info.html
TRANSACTIONS = """
    WITH waiting AS MATERIALIZED (
        SELECT pid, pg_blocking_pids(pid) AS holders, extract(epoch FROM now() - query_start)::float AS seconds
        FROM pg_stat_activity WHERE wait_event_type = 'Lock'
    ), held AS (
        SELECT holder, count(*)::int AS blocked, max(seconds) AS seconds
        FROM waiting, unnest(holders) AS holder GROUP BY holder
    )
    SELECT pid, coalesce(usename, '') AS role, application_name AS application,
           coalesce(host(client_addr), '') AS client, coalesce(state, '') AS state,
           coalesce(upper(substring(query FROM '^[[:space:]]*([[:alpha:]]+)')), '') AS statement,
           extract(epoch FROM now() - xact_start)::float AS seconds, coalesce(blocked, 0) AS blocked,
           coalesce(held.seconds, 0) AS blocked_seconds
    FROM pg_stat_activity LEFT JOIN held ON holder = pid
    WHERE datname = ANY(%s) AND backend_type = 'client backend' AND pid NOT IN (SELECT pid FROM waiting)
          AND (blocked > 0 OR now() - xact_start > interval '1 minute')
    ORDER BY blocked DESC, xact_start LIMIT 20
"""


def database(session: Session, _scope: Scope) -> dict[str, Any]:
    """Log in to Airflow's database; read privileges, migration and connections."""
    return {"database": shared(session, opened_database).facts}


def celery(session: Session, _scope: Scope) -> dict[str, Any]:
    """Log in to Celery's database; read privileges."""
    return {"celery": shared(session, opened_database, "result_backend").facts}


class OpenDatabase:
    """A database of Airflow's, open for reading, and what its role sees of it. Thread-safe."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Read the facts, then make the connection read-only: of what they tell is who else has made it so."""
        connection.autocommit = True
        self._connection = connection
        self.facts = as_owner(connection)
        connection.execute(_READING)

    def rows(self, query: Any, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query by their columns' names."""
        from psycopg.rows import dict_row

        rows: list[dict[str, Any]] = self._connection.cursor(row_factory=dict_row).execute(query, values).fetchall()
        return rows


def opened_database(session: Session, url: str = "sql_connection") -> OpenDatabase:
    """Open a database for reading until the session ends, with the `url` of the vault that step 4 names so."""
    connection = open_database(session, getattr(session.memoize(key_vault.Resources), url))
    session.closing.callback(connection.close)
    return OpenDatabase(connection)


def open_database(session: Session, secret: VaultSecret) -> psycopg.Connection[Any]:
    """Log in with a URL of the vault over verified TLS."""
    server, url = session.memoize(backend.Resources).server, DatabaseUrl.parse(_value(secret))
    return connect(server, url.database, url.user, url.password)


def as_owner(connection: psycopg.Connection[Any]) -> Database:
    """Read what a database's role sees of it, in one query, and the revision of its tables in another."""
    facts = dict(read_row(connection, _AS_OWNER) or {})
    if facts["migrated"]:
        facts |= read_row(connection, _SCHEMA) or {}
    return Database(**{name: value for name, value in facts.items() if value is not None})


def administrator(session: Session, _scope: Scope) -> dict[str, Any]:
    """Sign in as administrator with a token; read Airflow's role, and which transactions block others or are old."""
    step3 = session.memoize(backend.Resources)
    with sign_in(step3.administrator) as connection:
        row = read_row(connection, _OF_THE_ROLE, step3.role.name)
        read = transactions(connection, step3.database.name, step3.celery_database.name)
    return {"role": Role(**row) if row else Role(exists=False, login=False), "transactions": read}


def transactions(connection: psycopg.Connection[Any], *databases: str) -> tuple[Transaction, ...]:
    """Return the transactions in the databases that block others or are older than a minute, at most twenty."""
    from psycopg.rows import dict_row

    rows = connection.cursor(row_factory=dict_row).execute(TRANSACTIONS, (list(databases),)).fetchall()
    return tuple(Transaction(**row) for row in rows)


def broker(session: Session, _scope: Scope) -> dict[str, Any]:
    """Read the broker's limits and queues with the vault's URL. Raises CheckFailed if the URL lacks TLS.

    Then, not before, the database is asked for tasks that must have a message: one that ends meanwhile is not missed.
    """
    import psycopg

    step4 = session.memoize(key_vault.Resources)
    with opened(_value(step4.broker_url), session.connection.ca_file, step4.route) as client:
        facts = read_broker(client)
    with suppress(psycopg.Error, AirflowAksError):
        (counts,) = shared(session, opened_database).rows(_SENT)
        facts = replace(facts, **counts)
    return {"broker": facts}


def read_broker(client: redis.Redis) -> Broker:
    """Return the broker's limits and queues.

    `maxclients` is missing from the INFO of older servers. kombu keeps a list for each queue and priority, named after
    both, and in the hash `unacked` what workers have taken (`kombu/transport/redis.py`).
    """
    info: dict[str, Any] = client.info()
    lists = sorted(islice(client.scan_iter(_type="list", count=_KEYS), _KEYS))
    with client.pipeline(transaction=False) as pipeline:
        for name in lists:
            pipeline.llen(name)
        pipeline.hlen("unacked")
        *lengths, unacknowledged = pipeline.execute()
    queued: Counter[str] = Counter()
    for name, length in zip(lists, lengths, strict=True):
        queued[name.decode().partition(_PRIORITY)[0]] += length
    most_clients, clients = info.get("maxclients", 0), info.get("connected_clients", 0)
    addresses: Counter[str] = Counter()
    if most_clients and clients >= _NEARLY_ALL * most_clients:
        addresses.update(each["addr"].rpartition(":")[0] for each in client.client_list())
    return Broker(
        used_memory=info["used_memory"],
        most_memory=info.get("maxmemory", 0),
        policy=info.get("maxmemory_policy", "noeviction"),
        replica=info.get("role") == "slave",
        clients=clients,
        most_clients=most_clients,
        addresses=dict(addresses.most_common(_MOST_ADDRESSES)),
        queued={name: length for name, length in queued.items() if not name.endswith(_REPLIES)},
        unacknowledged=unacknowledged,
    )


def _value(secret: VaultSecret) -> str:
    with secret.session.translated(secret):
        return str(secret.require("value").reveal())
