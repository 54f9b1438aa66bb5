"""Fixes in PostgreSQL that no step makes: end transactions, reset what keeps Airflow from writing, migrate again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, LiteralString

from airflowaks.azure.database_role import TOKEN_SCOPE, connect, statement
from airflowaks.diagnosis import kubectl
from airflowaks.diagnosis.readers.backend import as_owner, open_database, transactions
from airflowaks.diagnosis.written import written
from airflowaks.engine.changes import Action, Changes, Difference
from airflowaks.errors import PermissionDenied
from airflowaks.kube.pods import is_true
from airflowaks.steps import airflow, backend, key_vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.diagnosis.facts.services import Database, Transaction
    from airflowaks.session import Session

_ENDED_MS = 5000
_BY_HAND = "user-override"


def end_blocking_transactions(session: Session) -> Changes:
    """End the sessions whose transactions block others."""
    return _end(session, lambda transaction: transaction.blocks)


def end_idle_transactions(session: Session) -> Changes:
    """End the sessions that have left a transaction open for long without a statement."""
    return _end(session, lambda transaction: transaction.idle and transaction.is_long)


def _end(session: Session, wanted: Callable[[Transaction], bool]) -> Changes:
    """End sessions as administrator. Raises PermissionDenied for a superuser's, which only Azure has.

    https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL
    """
    from psycopg.errors import InsufficientPrivilege

    step3, changes = session.memoize(backend.Resources), Changes()
    token = session.token(TOKEN_SCOPE)
    with connect(step3.server, "postgres", step3.administrator.user, token) as connection:
        connection.autocommit = True
        for transaction in filter(wanted, transactions(connection, step3.database.name, step3.celery_database.name)):
            end = partial(connection.execute, "SELECT pg_terminate_backend(%s, %s)", (transaction.pid, _ENDED_MS))
            thing = _named(session, "database session", transaction.session)
            try:
                changes += written(
                    session, thing, [Difference("transaction", str(transaction), None)], end, Action.DELETE
                )
            except InsufficientPrivilege as error:
                message = f"{step3.server}: {step3.administrator.name} cannot end {transaction}."
                raise PermissionDenied(message, "Ask Azure's support to end it, or restart the server.") from error
    return changes


def allow_writes(session: Session) -> Changes:
    """Reset `default_transaction_read_only` where the database or Airflow's role has it; end sessions that keep it."""
    step3 = session.memoize(backend.Resources)
    with open_database(session, session.memoize(key_vault.Resources).sql_connection) as connection:
        connection.autocommit = True
        scope = as_owner(connection).read_only
        database, role = step3.database.name, step3.role.name
        owners: dict[str, tuple[LiteralString, tuple[str, ...]]] = {
            "database": ("DATABASE {}", (database,)),
            "user": ("ROLE {}", (role,)),
            "database user": ("ROLE {} IN DATABASE {}", (role, database)),
        }
        if scope not in owners:
            return Changes()
        kind, names = owners[scope]

        def reset() -> None:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(statement(f"ALTER {kind} RESET default_transaction_read_only", *names))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()"
            )

        difference = Difference("default_transaction_read_only", before="on", after="off")
        return written(session, _named(session, scope, " in ".join(names)), [difference], reset)


def reset_parameter(name: str, session: Session) -> Changes:
    """Set a parameter of the server, which somebody has set, to its default; one that Azure sets is left alone.

    https://learn.microsoft.com/azure/postgresql/server-parameters/how-to-server-parameters-set-value
    """
    server, operations = session.memoize(backend.Resources).server, session.postgresql.configurations
    with session.translated(server), server.writing:
        facts = operations.get(server.group, server.name, name)["properties"]
        before, default = facts["value"], facts["defaultValue"]
        if before == default or facts["source"] != _BY_HAND:
            return Changes()
        parameters: Any = {"properties": {"value": default, "source": _BY_HAND}}
        return written(
            session,
            _named(session, "server parameter", name),
            [Difference("value", before, default)],
            lambda: operations.begin_update(server.group, server.name, name, parameters).result(),
        )


def migrate_again(schema: str, session: Session) -> Changes:
    """Run the migration again, unless the database no longer has `schema`."""
    return _migrate(session, lambda database: database.schema == schema)


def create_tables(session: Session) -> Changes:
    """Run the migration in a database without tables: it creates them as the image knows them, and the administrator.

    In one that has tables and no version, `airflow db migrate` would note its own version and change no table
    (`_create_db_from_orm_default` in Airflow 3.3.2's `airflow/utils/db.py`).
    """
    return _migrate(session, lambda database: database.empty)


def _migrate(session: Session, wanted: Callable[[Database], bool]) -> Changes:
    """Run the migration, which its Job's manifest gives no reason for, then roll out what waits for it.

    The Job is deleted once: not while it runs, nor when the database is no longer as `wanted`.
    """
    with session.translated(migration := session.memoize(airflow.Resources).migration):
        job = migration.refresh()
    with open_database(session, session.memoize(key_vault.Resources).sql_connection) as connection:
        waits = wanted(as_owner(connection))
    ended = job is not None and (is_true(job, "Complete") or is_true(job, "Failed"))
    deleted = kubectl.write(session, job, Action.DELETE) if job and ended and waits else Changes()
    return deleted + airflow.components(session)


def _named(session: Session, kind: str, name: str) -> tuple[str, str, str]:
    return kind, name, f"{session.environment.name}/{kind}/{name}"
