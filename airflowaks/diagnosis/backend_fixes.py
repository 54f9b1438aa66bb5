"""Fixes in PostgreSQL that no step makes: they end transactions, and reset what keeps Airflow from writing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, LiteralString

from airflowaks.azure.database_role import TOKEN_SCOPE, connect, statement
from airflowaks.diagnosis.readers.backend import as_owner, open_database, transactions
from airflowaks.engine.changes import Action, Change, Changes, Difference
from airflowaks.engine.results import Results
from airflowaks.errors import PermissionDenied
from airflowaks.steps import backend, key_vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.diagnosis.facts.services import Transaction
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

    step3 = session.memoize(backend.Resources)
    changes = []
    token = session.token(TOKEN_SCOPE)
    with connect(step3.server, "postgres", step3.administrator.name, token) as connection:
        connection.autocommit = True
        for transaction in filter(wanted, transactions(connection, step3.database.name, step3.celery_database.name)):
            began = time.time()
            if session.applies:
                try:
                    connection.execute("SELECT pg_terminate_backend(%s, %s)", (transaction.pid, _ENDED_MS))
                except InsufficientPrivilege as error:
                    message = f"{step3.server}: {step3.administrator.name} cannot end {transaction}."
                    raise PermissionDenied(message, "Ask Azure's support to end it, or restart the server.") from error
            difference = Difference("transaction", str(transaction), None)
            changes.append(_change(session, "database session", transaction.session, difference, began))
    return _recorded(session, changes)


def allow_writes(session: Session) -> Changes:
    """Reset `default_transaction_read_only` where the database or Airflow's role has it; end sessions that keep it."""
    step3, began = session.memoize(backend.Resources), time.time()
    changes = []
    with open_database(session, session.memoize(key_vault.Resources).sql_connection) as connection:
        connection.autocommit = True
        scope = as_owner(connection).read_only
        database, role = step3.database.name, step3.role.name
        owners: dict[str, tuple[LiteralString, tuple[str, ...]]] = {
            "database": ("DATABASE {}", (database,)),
            "user": ("ROLE {}", (role,)),
            "database user": ("ROLE {} IN DATABASE {}", (role, database)),
        }
        if scope in owners:
            kind, names = owners[scope]
            if session.applies:
                connection.execute("SET default_transaction_read_only = off")
                connection.execute(statement(f"ALTER {kind} RESET default_transaction_read_only", *names))
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()"
                )
            difference = Difference("default_transaction_read_only", before="on", after="off")
            changes.append(_change(session, scope, " in ".join(names), difference, began))
    return _recorded(session, changes)


def reset_parameter(name: str, session: Session) -> Changes:
    """Set a parameter of the server, which somebody has set, to its default; one that Azure sets is left alone.

    https://learn.microsoft.com/azure/postgresql/server-parameters/how-to-server-parameters-set-value
    """
    server, operations, began = (
        session.memoize(backend.Resources).server,
        session.postgresql.configurations,
        time.time(),
    )
    changes = []
    with session.translated(server), server.writing:
        facts = operations.get(server.group, server.name, name)["properties"]
        before, default = facts["value"], facts["defaultValue"]
        if before != default and facts["source"] == _BY_HAND:
            if session.applies:
                parameters: Any = {"properties": {"value": default, "source": _BY_HAND}}
                operations.begin_update(server.group, server.name, name, parameters).result()
            changes.append(_change(session, "server parameter", name, Difference("value", before, default), began))
    return _recorded(session, changes)


def _change(session: Session, kind: str, name: str, difference: Difference, began: float) -> Change:
    return Change(
        kind=kind,
        name=name,
        action=Action.DELETE if difference.after is None else Action.UPDATE,
        id=f"{session.environment.name}/{kind}/{name}",
        differences=(difference,),
        began=began,
        seconds=time.time() - began,
        applied=session.applies,
    )


def _recorded(session: Session, changes: list[Change]) -> Changes:
    session.memoize(Results).changes.extend(changes)
    return Changes(changes)
