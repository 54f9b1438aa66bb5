"""Airflow's role has no privilege on the server: what it has is taken from it, or said."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge
from airflowaks.errors import AzureError, PermissionDenied
from airflowaks.steps import backend, cluster
from tests.support.principals import principal_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.azure.database_role import DatabaseRole
    from airflowaks.azure.subscription import ResourceGroup
    from tests.support.rehearsal import Rehearsal

POWERLESS = {"login": True, "powers": [], "memberships": []}


@pytest.fixture
def role(group: ResourceGroup) -> DatabaseRole:
    """The role as step 3 makes it."""
    session = group.session
    step, step1 = session.memoize(backend.Resources), session.memoize(cluster.Resources)
    cluster.groups(session)
    converge(session, step.server, step.administrator, *step.firewall.values())
    converge(session, step.role)
    assert step1.admins.facts
    return step.role


@pytest.fixture
def as_azure(rehearsal: Rehearsal, role: DatabaseRole) -> Callable[..., Any]:
    """Runs SQL as the service itself, which no client can: Azure's superuser, on a socket of the server's machine."""
    (folder,) = rehearsal.home.glob(f"services/postgresql-{role.server.name}")

    def run(statement: str) -> None:
        with psycopg.connect(host=str((folder / "run").resolve()), user="azuresu", dbname="postgres") as connection:
            connection.execute(sql.SQL(statement))

    return run


def as_administrator(role: DatabaseRole, statement: str) -> None:
    with role.administer() as connection:
        connection.execute(sql.SQL(statement))


def test_what_the_administrator_gave_is_taken(role: DatabaseRole) -> None:
    as_administrator(role, "ALTER ROLE airflow CREATEDB CREATEROLE")
    as_administrator(role, "CREATE ROLE analysts")
    as_administrator(role, "GRANT azure_pg_admin, analysts TO airflow")
    (change,) = converge(role.session, role)
    assert (change.action, role.facts) == (Action.UPDATE, POWERLESS)
    assert {one.path: set(one.before) for one in change.differences} == {
        "powers": {"CREATEDB", "CREATEROLE"},
        "memberships": {"azure_pg_admin", "analysts"},
    }


@pytest.mark.parametrize(
    ("statement", "power"),
    [
        ("ALTER ROLE airflow BYPASSRLS", "BYPASSRLS"),
        ("ALTER ROLE airflow REPLICATION", "REPLICATION"),
        ("GRANT azure_pg_admin TO airflow", "membership in azure_pg_admin"),
    ],
)
def test_what_the_service_gave_is_said(
    role: DatabaseRole, as_azure: Callable[[str], None], statement: str, power: str
) -> None:
    as_azure(statement)
    with pytest.raises(PermissionDenied, match=rf"lacks the privileges to change it \(it has {power}\)") as caught:
        converge(role.session, role)
    assert "postgresql.role" in caught.value.action


def test_a_role_of_somebody_else_is_said(role: DatabaseRole, as_azure: Callable[[str], None]) -> None:
    as_azure("CREATE ROLE theirs")
    role.name = "theirs"
    with pytest.raises(PermissionDenied, match="lacks the privileges to change it: permission denied") as caught:
        converge(role.session, role)
    assert caught.value.message.startswith("Database role theirs: ")


def test_who_is_no_administrator_is_told_so_in_one_line(rehearsal: Rehearsal, role: DatabaseRole) -> None:
    stranger = principal_of(rehearsal, role.session, [("Reader", f"/subscriptions/{rehearsal.subscription}")])
    with pytest.raises(PermissionDenied) as caught:
        stranger.memoize(backend.Resources).role.administer()
    group = role.administrator.name
    assert f"it refused your token as a member of {group}: " in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.action == (
        f"Join the Entra group {group}, then run `az account clear` and `az login` for a new token. A managed identity"
        " has to join a day beforehand: Azure keeps its tokens for up to 24 hours."
    )


def test_a_certificate_that_is_not_trusted_ends_at_once(role: DatabaseRole) -> None:
    role.session.connection = replace(role.session.connection, ca_bundle=None)
    assert role.administrator.recently_written
    began = time.monotonic()
    with pytest.raises(
        AzureError, match=r"database role airflow: PostgreSQL refused: .*certificate verify failed"
    ) as caught:
        converge(role.session, role)
    assert time.monotonic() - began < 30
    assert "`ca_bundle`" in caught.value.action
