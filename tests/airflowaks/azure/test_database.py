"""Airflow's database belongs to Airflow's role, whoever made it and wherever a run was killed, or that is said."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from airflowaks.azure.database_role import connect
from airflowaks.azure.entra import Group, send
from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge
from airflowaks.engine.resource import ADOPTED
from airflowaks.errors import AirflowAksError, PermissionDenied
from airflowaks.session import Session
from airflowaks.steps import backend, cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.azure.subscription import ResourceGroup
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

PATIENCE_SECONDS = 60
OWNED = {"owner": "airflow", "private": True, "creates": True}


@pytest.fixture
def step(group: ResourceGroup) -> backend.Resources:
    """The server as step 3 makes it, without a database."""
    session = group.session
    made = session.memoize(backend.Resources)
    cluster.groups(session)
    converge(session, made.server, made.administrator, *made.firewall.values())
    return made


@pytest.fixture
def administer(step: backend.Resources) -> Callable[..., None]:
    """Runs SQL as the Entra administrator."""

    def run(statement: str, database: str = "postgres") -> None:
        with step.role.administer(database) as connection:
            connection.autocommit = True
            connection.execute(sql.SQL(statement))

    return run


def test_the_operator_signs_in_under_the_name_that_entra_has(group: ResourceGroup) -> None:
    environment, connection = group.session.environment, group.session.connection
    entra = environment.entra.model_copy(update={"admin_group": f"{group.name}-admins"})
    session = Session(environment.model_copy(update={"entra": entra}), "apply", connection)
    theirs = Group(session, entra.admin_group.upper(), "The platform team")
    send(session, "POST", "/groups", json={**theirs.creation(), **theirs.settings(), "displayName": theirs.name})
    made = session.memoize(backend.Resources)
    assert cluster.groups(session)[0].origin == ADOPTED
    converge(session, made.server, made.administrator, *made.firewall.values())
    assert made.administrator.fact("properties.principalName") == theirs.name
    with made.role.administer() as connected:
        assert connected.info.user == theirs.name


def test_the_operator_signs_in_without_asking_graph(rehearsal: Rehearsal, step: backend.Resources) -> None:
    fault = {"methods": ["GET"], "host": r"graph\.microsoft\.com", "status": 403, "code": "no", "times": 9}
    rehearsal.control("POST", fault)
    old = step.server.session
    later = Session(old.environment, "plan", old.connection).memoize(backend.Resources)
    try:
        with later.role.administer() as connected:
            assert connected.info.user == old.environment.entra.admin_group
        assert [each["matched"] for each in rehearsal.control("GET")] == [0]
    finally:
        rehearsal.control("DELETE")


def create(step: backend.Resources) -> list[Action]:
    return [change.action for change in backend.database(step.server.session) if change.name == "airflow"]


def as_airflow(rehearsal: Rehearsal, step: backend.Resources, statement: str) -> None:
    """Run SQL as Airflow's role, on a socket of the server's machine; the role has no password yet."""
    (folder,) = rehearsal.home.glob(f"services/postgresql-{step.server.name}")
    with psycopg.connect(host=str((folder / "run").resolve()), user="azuresu", dbname="airflow") as connection:
        connection.execute("SET ROLE airflow")
        connection.execute(sql.SQL(statement))


def test_the_role_creates_tables_in_its_own_database(rehearsal: Rehearsal, step: backend.Resources) -> None:
    assert create(step) == [Action.CREATE, Action.CREATE, Action.UPDATE]
    assert step.privileges.facts == OWNED
    as_airflow(rehearsal, step, "CREATE TABLE dag (id int)")
    assert create(step) == [Action.NONE] * 3


def test_a_plan_asks_no_server_that_does_not_exist(group: ResourceGroup) -> None:
    session = Session(group.session.environment, "plan", group.session.connection)
    assert [change.action for change in backend.database(session)] == [Action.CREATE] * 6


def test_celerys_role_reaches_its_own_database_alone(step: backend.Resources) -> None:
    create(step)
    role, password = step.celery_role, "of-celery"
    role.set_password(role.session.redactor.learn(password))
    with connect(step.server, "airflow_celery", role.name, password) as connection:
        connection.execute("CREATE TABLE celery_taskmeta (id int)")
    with pytest.raises(psycopg.OperationalError, match='permission denied for database "airflow"'):
        connect(step.server, "airflow", role.name, password)


@pytest.mark.parametrize(
    ("statements", "left"),
    [
        (("CREATE ROLE airflow LOGIN",), [Action.NONE, Action.CREATE, Action.UPDATE]),
        (("CREATE ROLE airflow LOGIN", "GRANT airflow TO CURRENT_USER"), [Action.NONE, Action.CREATE, Action.UPDATE]),
        (
            (
                "CREATE ROLE airflow LOGIN",
                "GRANT airflow TO CURRENT_USER",
                "CREATE DATABASE airflow OWNER airflow",
                "REVOKE ALL ON DATABASE airflow FROM PUBLIC",
            ),
            [Action.NONE, Action.NONE, Action.UPDATE],
        ),
        (("CREATE DATABASE airflow",), [Action.CREATE, Action.NONE, Action.UPDATE]),
    ],
)
def test_a_step_that_was_killed_is_completed(
    step: backend.Resources, administer: Callable[..., None], statements: tuple[str, ...], left: list[Action]
) -> None:
    for statement in statements:
        administer(statement)
    assert create(step) == left
    assert step.privileges.facts == OWNED


def test_a_database_that_resource_manager_has_not_seen_is_no_error(
    step: backend.Resources, administer: Callable[..., None]
) -> None:
    converge(step.server.session, step.role)
    administer("CREATE DATABASE airflow")
    step.database.put({})
    assert create(step) == [Action.NONE, Action.NONE, Action.UPDATE]


@pytest.mark.parametrize(
    ("written", "by_another_run"),
    [
        ("role", "ALTER ROLE airflow CREATEDB"),
        ("privileges", "REVOKE ALL ON DATABASE airflow FROM PUBLIC"),
    ],
)
def test_of_two_runs_that_write_the_same_row_none_fails(
    step: backend.Resources, written: str, by_another_run: str
) -> None:
    converge(step.server.session, step.role, step.database)
    resource = getattr(step, written)
    with ThreadPoolExecutor(1) as pool, step.role.administer() as another, step.role.administer() as observer:
        observer.autocommit = True
        another.execute(sql.SQL(by_another_run))
        writing = pool.submit(resource.write, {"powers": ["CREATEDB"]})
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not observer.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            assert time.monotonic() < deadline
            assert not writing.done()
        another.commit()
        writing.result(PATIENCE_SECONDS)
    resource.refresh()
    assert resource.differences() == ()


def test_what_the_administrator_changed_is_set_back(step: backend.Resources, administer: Callable[..., None]) -> None:
    create(step)
    administer(f'ALTER DATABASE airflow OWNER TO "{step.administrator.name}"')
    administer("GRANT CONNECT ON DATABASE airflow TO PUBLIC")
    administer("REVOKE ALL ON SCHEMA public FROM airflow", "airflow")
    assert create(step) == [Action.NONE, Action.NONE, Action.UPDATE]
    assert step.privileges.facts == OWNED


def test_an_administrator_who_was_made_again_checks_what_it_can_see(step: backend.Resources) -> None:
    create(step)
    session, administrators = step.server.session, step.server.session.postgresql.administrators_microsoft_entra
    administrators.begin_delete(step.server.group, step.server.name, str(step.administrator.admins.object_id)).result()
    converge(session, step.administrator)
    assert create(step) == [Action.NONE] * 3
    session.postgresql.databases.begin_delete(step.server.group, step.server.name, "airflow").result()
    with pytest.raises(PermissionDenied, match='permission denied to grant role "airflow"') as caught:
        create(step)
    assert "drop the role" in caught.value.action


@pytest.mark.parametrize("mode", ["plan", "apply"])
def test_a_database_of_somebody_else_is_said(step: backend.Resources, mode: Any) -> None:
    made, session = step.server, step.server.session
    body: Any = {"properties": {"charset": "UTF8"}}
    session.postgresql.databases.begin_create(made.group, made.name, "airflow", body).result()
    with pytest.raises(PermissionDenied) as caught:
        backend.database(Session(session.environment, mode, session.connection))
    assert caught.value.message == (
        "Database airflow: it belongs to airflowaksadmin, and airflow-local-admins cannot hand it over to airflow."
    )
    assert "az postgres flexible-server db delete" in caught.value.action


def test_a_schema_that_the_administrator_cannot_grant_is_said(
    rehearsal: Rehearsal, step: backend.Resources, administer: Callable[..., None]
) -> None:
    create(step)
    administer("REVOKE ALL ON SCHEMA public FROM airflow", "airflow")
    (folder,) = rehearsal.home.glob(f"services/postgresql-{step.server.name}")
    with psycopg.connect(host=str((folder / "run").resolve()), user="azuresu", dbname="airflow") as connection:
        connection.execute("ALTER SCHEMA public OWNER TO azuresu")
    with pytest.raises(AirflowAksError, match="cannot grant the schema public") as caught:
        create(step)
    assert "GRANT ALL ON SCHEMA public TO airflow" in caught.value.action
