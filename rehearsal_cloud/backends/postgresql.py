"""A real PostgreSQL behind a rehearsed flexible server, with Azure's roles and limits."""

import asyncio
import contextlib
import os
import pwd
import shlex
import signal
from pathlib import Path
from typing import ClassVar, NamedTuple

import psycopg
from psycopg import pq, sql

from rehearsal_cloud.backends.postgresql_install import SUPERUSER, PostgresInstallation
from rehearsal_cloud.backends.processes import Server, claim, part, run

# Only the name of the socket depends on it.
_PORT = 5432

# About 25 MB for each server. Logged statements could contain passwords, details could contain rows. Commits survive
# kill -9 without fsync; only a crash of the machine loses them, which is not rehearsed.
_SETTINGS = """\
fsync = off
max_connections = 100
shared_buffers = 16MB
wal_level = minimal
max_wal_senders = 0
min_wal_size = 8MB
max_wal_size = 128MB
io_method = sync
max_worker_processes = 2
max_logical_replication_workers = 0
jit = off
password_encryption = scram-sha-256
log_statement = none
log_min_error_statement = panic
log_error_verbosity = terse
log_checkpoints = off
log_timezone = UTC
timezone = UTC
azure.extensions = ''
"""
# The first matching line counts. Only the rehearsal's own user comes in without a password, so clients need its
# terminator, which requires a token of Entra's roles.
_CLIENT_AUTHENTICATION = f"""\
local all {SUPERUSER} peer map=rehearsal
local all +azure_ad_user peer map=rehearsal
local all all scram-sha-256
"""


def password_verifier(password: str) -> str:
    """Return the SCRAM-SHA-256 verifier that PostgreSQL stores instead of a password.

    libpq computes it and needs a connection for its settings; an unconnected one suffices.
    """
    nowhere = pq.PGconn.connect_start(b"host=/nonexistent")
    return nowhere.encrypt_password(password.encode(), b"", b"scram-sha-256").decode()


class Database(NamedTuple):
    """A database, as the server describes it."""

    name: str
    charset: str
    collation: str


class PostgresServer(Server):
    """The PostgreSQL of a flexible server: its lifecycle, roles, databases and parameters.

    It listens on a Unix socket in a private folder only. Role and database names are quoted; the caller
    checks Azure's rules for them. Methods that run SQL raise psycopg.Error, all others ServerError.
    """

    program: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # a "fast" shutdown: sessions end, nothing is lost

    def __init__(self, folder: Path, installation: PostgresInstallation) -> None:
        super().__init__(folder)
        self._installation = installation

    @property
    def workplace(self) -> Path:
        """The data folder, in which PostgreSQL's processes run."""
        return self.folder / "store" / "data"

    @property
    def socket(self) -> Path:
        """The Unix socket to log in through."""
        return (self.folder / "run").resolve() / f".s.PGSQL.{_PORT}"

    async def create(self, administrator_login: str | None, verifier: str | None) -> None:
        """Create and start the server; with a login, also the administrator. It continues an interrupted creation."""
        await self._installation.prepare()
        await asyncio.to_thread(self._copy_template)
        await self.start()
        if administrator_login is not None:
            await self._add_administrator(administrator_login)
            if verifier is not None:
                await self.set_administrator_password(administrator_login, verifier)

    def _copy_template(self) -> None:
        account = self._installation.account
        store = claim(self.folder / "store", account)
        if not self.workplace.is_dir():
            copied = part(store)
            run("cp", "-R", self._installation.template, copied, account=account, folder=store)
            copied.rename(store / "data")

    async def _launch(self) -> None:
        await self._installation.prepare()
        await asyncio.to_thread(self._run)

    def _run(self) -> None:
        account = self._installation.account
        run_folder = claim(self.folder / "run", account, for_socket=True)
        data = self.workplace.resolve()
        # A killed postmaster leaves the file. Another process may have its pid by now, which PostgreSQL would respect.
        for stale in (data / "postmaster.pid", *run_folder.glob(f".s.PGSQL.{_PORT}*")):
            stale.unlink(missing_ok=True)
        (data / "postgresql.conf").write_text(_SETTINGS)
        (data / "pg_hba.conf").write_text(_CLIENT_AUTHENTICATION)
        (data / "pg_ident.conf").write_text(f'rehearsal "{pwd.getpwuid(os.geteuid()).pw_name}" all\n')
        # On the command line, because later settings cannot override it.
        listen = shlex.join(["-c", "listen_addresses=", "-c", f"unix_socket_directories={run_folder}"])
        log = data.with_name("log")
        pg_ctl = self._installation.bin / "pg_ctl"
        run(pg_ctl, "start", "-s", "-w", "-D", data, "-l", log, "-o", listen, account=account, folder=data)

    async def _answers(self) -> bool:
        try:
            await self._execute(sql.SQL("SELECT 1"))
        except psycopg.OperationalError:
            return False
        return True

    async def _connect(self, database: str = "postgres") -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(
            host=str(self.socket.parent), port=_PORT, user=SUPERUSER, dbname=database, autocommit=True
        )

    async def _execute(self, statement: sql.SQL | sql.Composed, *values: str) -> list[tuple[str, ...]]:
        async with await self._connect() as connection:
            cursor = await connection.execute(statement, values or None)
            return await cursor.fetchall() if cursor.description else []

    async def _ensure_role(self, name: str) -> sql.Identifier:
        role = sql.Identifier(name)
        with contextlib.suppress(psycopg.errors.DuplicateObject):
            await self._execute(sql.SQL("CREATE ROLE {}").format(role))
        return role

    async def _add_administrator(self, name: str) -> None:
        role = await self._ensure_role(name)
        await self._execute(sql.SQL("ALTER ROLE {} LOGIN CREATEROLE CREATEDB").format(role))
        await self._execute(sql.SQL("GRANT azure_pg_admin TO {} WITH ADMIN OPTION").format(role))

    async def set_administrator_password(self, login: str, verifier: str) -> None:
        """Set the administrator's password; only its verifier is stored."""
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        await self._execute(statement.format(sql.Identifier(login), sql.Literal(verifier)))

    async def add_entra_administrator(self, name: str, object_id: str, principal_type: str) -> None:
        r"""Create a Microsoft Entra administrator, which logs in with a token.

        As the administrator login it is a member of azure_pg_admin, but not of that login: what the login owns, such
        as databases made through Resource Manager, it cannot alter.
        The role names its principal in a comment (\du+), where Azure uses a security label.
        """
        await self._add_administrator(name)
        role, label = sql.Identifier(name), sql.Literal(f"aadauth,oid={object_id},type={principal_type.lower()},admin")
        await self._execute(sql.SQL("GRANT azure_ad_user TO {}").format(role))
        await self._execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, label))

    async def remove_entra_administrator(self, name: str) -> None:
        """Remove a Microsoft Entra administrator; a role that owns objects or has granted privileges stays, locked."""
        role = sql.Identifier(name)
        with contextlib.suppress(psycopg.errors.UndefinedObject):
            await self._execute(sql.SQL("ALTER ROLE {} NOLOGIN NOCREATEROLE NOCREATEDB").format(role))
            await self._execute(sql.SQL("REVOKE azure_ad_user FROM {}").format(role))
            with contextlib.suppress(psycopg.errors.DependentObjectsStillExist):
                await self._execute(sql.SQL("REVOKE azure_pg_admin FROM {}").format(role))
                await self._execute(sql.SQL("DROP ROLE {}").format(role))

    async def create_database(
        self, name: str, charset: str = "UTF8", collation: str = "C.UTF-8", *, owner: str | None = None
    ) -> None:
        """Create a database as Resource Manager does: it belongs to the administrator login. It may exist already.

        `owner` is that login; a server without one (Entra alone) has its databases owned by azuresu. A Microsoft Entra
        administrator is a member of neither, so it cannot hand such a database over. Sources:
        cyrilgdn/terraform-provider-postgresql#500, hashicorp/terraform-provider-azurerm#27895.
        A collation that is not built in (such as en_US.utf8) becomes C.UTF-8: the machine may not have it.
        Raises psycopg.Error for a charset that PostgreSQL does not know.
        """
        locale = collation if collation in ("C", "C.UTF-8", "PG_UNICODE_FAST") else "C.UTF-8"
        utf8 = charset.upper().replace("-", "") in ("UTF8", "UNICODE")
        statement = sql.SQL(
            "CREATE DATABASE {} OWNER {} ENCODING {} TEMPLATE template0 LOCALE 'C'"
            " LOCALE_PROVIDER builtin BUILTIN_LOCALE {}"
        ).format(
            *(sql.Identifier(name), sql.Identifier(owner or SUPERUSER), sql.Literal(charset)),
            sql.Literal(locale if utf8 else "C"),
        )
        with contextlib.suppress(psycopg.errors.DuplicateDatabase):
            await self._execute(statement)

    async def drop_database(self, name: str) -> None:
        """Remove a database and end its sessions. It may be missing."""
        await self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    async def databases(self) -> list[Database]:
        """Return all databases without the templates, by name, also those created with SQL."""
        rows = await self._execute(
            sql.SQL(
                "SELECT datname, pg_encoding_to_char(encoding), coalesce(datlocale, datcollate)"
                " FROM pg_database WHERE NOT datistemplate ORDER BY datname"
            )
        )
        return [Database(*row) for row in rows]

    async def in_each_database(self, query: str) -> list[tuple[str, str]]:
        """Return the database's name and the text of each row that a query of one column yields in it."""
        rows = []
        for database in await self.databases():
            async with await self._connect(database.name) as connection:
                cursor = await connection.execute(query.encode())
                rows += [(database.name, str(text)) for (text,) in await cursor.fetchall()]
        return rows

    async def set_parameter(self, name: str, value: str) -> bool:
        """Set a server parameter and tell whether it is static: a static parameter takes effect after a restart.

        Raises psycopg.Error for a parameter or value that PostgreSQL does not know.
        """
        await self._execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        await self._execute(sql.SQL("SELECT pg_reload_conf()"))
        rows = await self._execute(sql.SQL("SELECT context FROM pg_settings WHERE name = lower(%s)"), name)
        return rows == [("postmaster",)]
