"""Who blocks whom: told of a real server without a value of the statement, and ended once, if that is applied."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from airflowaks.azure.database_role import connect
from airflowaks.diagnosis.backend_fixes import end_blocking_transactions
from airflowaks.diagnosis.readers.backend import as_owner, transactions
from airflowaks.engine.converge import converge
from airflowaks.engine.polling import wait_until
from airflowaks.steps import backend, cluster

if TYPE_CHECKING:
    from airflowaks.azure.subscription import ResourceGroup
    from airflowaks.diagnosis.facts.services import Transaction

pytestmark = pytest.mark.broad

SECONDS = 60.0
PASSWORD = "of-airflow"


@pytest.fixture
def step(group: ResourceGroup) -> backend.Resources:
    """The server as step 3 makes it, with Airflow's database."""
    session = group.session
    made = session.memoize(backend.Resources)
    cluster.groups(session)
    converge(session, made.server, made.administrator, *made.firewall.values(), *made.databases())
    made.role.set_password(session.redactor.learn(PASSWORD))
    return made


def as_airflow(step: backend.Resources) -> psycopg.Connection[tuple[object, ...]]:
    return connect(step.server, step.database.name, step.role.name, PASSWORD)


def blocking(step: backend.Resources) -> list[Transaction]:
    with step.role.administer() as connection:
        return [each for each in transactions(connection, step.database.name) if each.blocks]


def test_a_blocking_transaction_is_named_and_ended_once(step: backend.Resources) -> None:
    session, ended = step.server.session, []
    with as_airflow(step) as holder, as_airflow(step) as waiting:
        holder.execute("CREATE TABLE slot_pool AS SELECT 'none' AS pool")
        holder.commit()
        holder.execute("  update slot_pool SET pool = 'a-value-of-somebodys'")

        def wait() -> None:
            waiting.execute("UPDATE slot_pool SET pool = 'another'")
            waiting.commit()
            ended.append(True)

        thread = threading.Thread(target=wait)
        thread.start()
        (transaction,) = wait_until(lambda: blocking(step), bool, SECONDS)
        assert (transaction.pid, transaction.blocked) == (holder.info.backend_pid, 1)
        told = f"session {holder.info.backend_pid} of airflow (airflowaks): idle in transaction, open for"
        assert str(transaction).startswith(told)
        assert "last statement UPDATE, blocks 1 for" in str(transaction)
        session.mode = "plan"
        planned = end_blocking_transactions(session)
        session.mode = "apply"
        assert (len(planned.pending), blocking(step)[0].pid) == (1, transaction.pid)
        assert "a-value" not in str(planned)
        assert str(transaction.pid) in str(end_blocking_transactions(session))
        thread.join(SECONDS)
        assert ended
        assert not end_blocking_transactions(session)
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            holder.execute("SELECT 1")
        assert as_owner(waiting).clients["airflow (airflowaks)"] == 1
