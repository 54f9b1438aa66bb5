"""What real servers tell of themselves becomes facts, and those a finding: whatever breaks here breaks in a server."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis

from airflowaks.azure.database_role import connect
from airflowaks.azure.redis import broker_url, opened
from airflowaks.diagnosis.facts.services import Backend, Broker, Database
from airflowaks.diagnosis.facts.snapshot import Snapshot
from airflowaks.diagnosis.readers.backend import as_owner, read_broker
from airflowaks.diagnosis.rules.registry import evaluate
from airflowaks.engine.converge import converge
from airflowaks.steps import backend, cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from airflowaks.azure.subscription import ResourceGroup
    from airflowaks.diagnosis.finding import Finding
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

PASSWORD = "of-airflow"


@pytest.fixture
def server(group: ResourceGroup) -> backend.Resources:
    """The server as step 3 makes it, with Airflow's database."""
    session = group.session
    made = session.memoize(backend.Resources)
    cluster.groups(session)
    converge(session, made.server, made.administrator, *made.firewall.values(), *made.databases())
    made.role.set_password(session.redactor.learn(PASSWORD))
    return made


def as_airflow(step: backend.Resources) -> psycopg.Connection[Any]:
    return connect(step.server, step.database.name, step.role.name, PASSWORD)


def of_database(step: backend.Resources) -> list[Finding]:
    with as_airflow(step) as connection:
        facts = as_owner(connection)
    assert facts.owner
    assert (facts.migrated, facts.empty) == (False, True)
    return list(evaluate(Snapshot(backend=Backend(database=facts_of_migrated(facts)))))


def facts_of_migrated(facts: Database) -> Database:
    return Database(**{**vars(facts), "migrated": True})


def configure(step: backend.Resources, name: str, value: str) -> None:
    parameters: Any = {"properties": {"value": value, "source": "user-override"}}
    operations = step.server.session.postgresql.configurations
    operations.begin_update(step.server.group, step.server.name, name, parameters).result()


def test_of_a_server_with_all_defaults_nothing_is_told(server: backend.Resources) -> None:
    assert of_database(server) == []


def test_who_holds_nearly_all_connections_is_told(server: backend.Resources) -> None:
    with ExitStack() as held:
        administrators = [held.enter_context(server.role.administer()) for _ in range(70)]
        for _ in range(18):
            held.enter_context(as_airflow(server))
        administrators[0].execute("SET application_name = 'somebodys'")
        (finding,) = of_database(server)
    assert finding.id == "AKA-508"
    told = f"connections are in use: 69 of {server.administrator.name} (airflowaks), 19 of airflow (airflowaks)"
    assert told in finding.evidence[0]
    assert f"1 of {server.administrator.name} (somebodys)" in finding.evidence[0]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("ALTER DATABASE airflow SET default_transaction_read_only = on", "for the database"),
        ("ALTER ROLE airflow SET default_transaction_read_only = on", "for Airflow's role"),
        ("ALTER ROLE airflow IN DATABASE airflow SET default_transaction_read_only = on", "for Airflow's role"),
    ],
)
def test_who_has_set_the_database_read_only_is_told(server: backend.Resources, statement: str, reason: str) -> None:
    with as_airflow(server) as connection:
        connection.execute(statement)  # type: ignore[call-overload]  # psycopg wants literals alone
    (finding,) = of_database(server)
    assert finding.cause == f"The database is read-only: somebody has set default_transaction_read_only {reason}."


def test_parameters_of_the_server_are_told(server: backend.Resources) -> None:
    configure(server, "default_transaction_read_only", "on")
    configure(server, "idle_session_timeout", "90000")
    findings = of_database(server)
    assert [finding.id for finding in findings] == ["AKA-516", "AKA-519"]
    assert findings[0].cause == "The database is read-only: the server allows no writes."
    assert findings[1].evidence == ("idle_session_timeout is 1 min",)
    session = server.server.session
    for finding in findings:
        assert finding.remedy is not None
        session.mode = "plan"
        assert len(finding.remedy(session).pending) == 1
        session.mode = "apply"
        assert not finding.remedy(session).pending
        assert not finding.remedy(session)
    assert of_database(server) == []


@pytest.fixture
def broker(group: ResourceGroup) -> backend.Resources:
    session = group.session
    made = session.memoize(backend.Resources)
    converge(session, *made.broker_parts)
    return made


@contextmanager
def client_of(step: backend.Resources) -> Iterator[redis.Redis]:
    url = broker_url(step.broker, step.broker.keys().primary)
    with opened(url, step.server.session.connection.ca_file, step.route) as client:
        yield client


def as_azure(rehearsal: Rehearsal) -> redis.Redis:
    """A client of the newest broker with the rights of the service itself."""
    password = max(rehearsal.home.glob("services/redisenterprise-*/password"), key=lambda file: file.stat().st_mtime)
    socket = str(password.parent / "run/valkey.sock")
    return redis.Redis(unix_socket_path=socket, username="rehearsal", password=password.read_text())


def of_broker(facts: Broker) -> list[str]:
    return [finding.id for finding in evaluate(Snapshot(backend=Backend(broker=facts)))]


def test_a_replica_is_told_and_a_limit_of_clients(rehearsal: Rehearsal, broker: backend.Resources) -> None:
    with as_azure(rehearsal) as service, client_of(broker) as client:
        assert of_broker(read_broker(client)) == []
        service.execute_command("REPLICAOF", "127.0.0.1", "9")
        assert of_broker(read_broker(client)) == ["AKA-610"]
        with pytest.raises(redis.exceptions.ReadOnlyError, match="read only replica"):
            client.set("key", "value")
        service.execute_command("REPLICAOF", "NO", "ONE")
        service.config_set("maxclients", service.info("clients")["connected_clients"])
        assert of_broker(read_broker(client)) == ["AKA-611"]
        with (
            client_of(broker) as another,
            pytest.raises(redis.exceptions.ConnectionError, match="max number of clients"),
        ):
            another.ping()


def test_queues_are_counted_whatever_the_priority(broker: backend.Resources) -> None:
    with client_of(broker) as client:
        client.lpush("default", "message", "message")
        client.lpush("default\x06\x163", "message")
        client.lpush("1f.reply.celery.pidbox", "answer")
        client.hset("unacked", "tag", "message")
        facts = read_broker(client)
    assert (facts.queued, facts.unacknowledged) == ({"default": 3}, 1)
