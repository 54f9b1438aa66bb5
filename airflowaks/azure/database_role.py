"""The roles of Airflow and Celery in PostgreSQL, which the operator creates and updates, signed in with an Entra token.

On a managed server the administrator is no superuser: since PostgreSQL 16 it must be granted a role before it can
create a database that belongs to this role.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, LiteralString, ParamSpec

from airflowaks.cloud.connection import AFTER_JOINING
from airflowaks.cloud.error_mapping import distrusts_certificate
from airflowaks.engine.polling import retry_on
from airflowaks.engine.resource import Facts, Resource
from airflowaks.errors import PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import psycopg
    from psycopg import sql

    from airflowaks.azure.postgresql import EntraAdministrator, FirewallRule, FlexibleServer
    from airflowaks.cloud.redaction import Secret

TOKEN_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"  # noqa: S105 - a scope, not a secret
WRONG_PASSWORD = "password authentication failed"  # noqa: S105 - the server's words, not a password
_NOT_A_MEMBER = "oid mismatch"  # believed: no page lists what the service answers to the token of a stranger
_COLLISIONS = ("tuple concurrently updated", "duplicate key value")
_CONNECT_SECONDS = 30
_SPREAD_SECONDS = 300.0
_LONGEST_REASON = 400
P = ParamSpec("P")
_FACTS = """
    SELECT rolcanlogin AS login,
           array_remove(ARRAY[
               CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
               CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
               CASE WHEN rolreplication THEN 'REPLICATION' END
           ], NULL) AS powers,
           ARRAY(SELECT pg_get_userbyid(roleid)::text FROM pg_auth_members WHERE member = pg_roles.oid) AS memberships
    FROM pg_roles WHERE rolname = %s
"""


def connect(server: FlexibleServer, database: str, user: str, password: str) -> psycopg.Connection[Any]:
    """Return a connection over TLS, the server's name and certificate verified; leaving its context commits and closes.

    libpq connects to `hostaddr` if there is one, and verifies the certificate for `host` in any case:
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-HOSTADDR

    Raises psycopg.OperationalError where the server cannot be reached or refuses.
    """
    import psycopg

    address, port = server.route.address(server.host, server.port)
    with server.route.explained(server.host):
        return psycopg.connect(
            host=server.host,
            hostaddr=address,
            port=port,
            dbname=database,
            user=user,
            password=password,
            sslmode="verify-full",
            sslrootcert=server.session.connection.ca_file,
            connect_timeout=_CONNECT_SECONDS,
            application_name="airflowaks",
        )


def sign_in(administrator: EntraAdministrator, database: str = "postgres") -> psycopg.Connection[Any]:
    """Connect as the Entra administrator, with a token; Graph is asked for the user only where its name is refused."""
    import psycopg

    server, token = administrator.server, administrator.session.token(TOKEN_SCOPE)
    try:
        return connect(server, database, administrator.name, token)
    except psycopg.OperationalError as error:
        if not _is_refusal(error) or administrator.user == administrator.name:
            raise
    return connect(server, database, administrator.user, token)


def _is_refusal(error: BaseException) -> bool:
    return any(words in str(error) for words in (WRONG_PASSWORD, _NOT_A_MEMBER))


def read_row(connection: psycopg.Connection[Any], query: LiteralString, *values: str) -> Facts | None:
    """Return the first row of a query by its columns' names, or None."""
    from psycopg.rows import dict_row

    return connection.cursor(row_factory=dict_row).execute(query, values).fetchone()


def statement(text: LiteralString, *names: str) -> sql.Composed:
    """Return an SQL statement with the quoted names of objects in place of `{}`."""
    from psycopg import sql

    return sql.SQL(text).format(*map(sql.Identifier, names))


def repeated(write: Callable[P, None]) -> Callable[P, None]:
    """Repeat a write of the catalogues: of two runs that write a row at the same moment, PostgreSQL lets one fail."""

    @wraps(write)
    def repeat(*arguments: P.args, **options: P.kwargs) -> None:
        ask = partial(write, *arguments, **options)
        retry_on(ask, lambda error: any(words in str(error) for words in _COLLISIONS), _SPREAD_SECONDS)

    return repeat


class DatabaseRole(Resource):
    """A role that owns a database: it can log in and has no privilege on the server; step 4 sets its password."""

    kind = "database role"

    def __init__(
        self,
        server: FlexibleServer,
        administrator: EntraAdministrator,
        firewall: Callable[[], Iterable[FirewallRule]],
        key: str,
    ) -> None:
        """Take `key`, which has the role's name in the section `postgresql` of the environment file."""
        session, name = server.session, getattr(server.session.environment.postgresql, key)
        super().__init__(session, name, parent=server, depends_on=(administrator,))
        self.key = key
        self.server = server
        self.administrator = administrator
        self.firewall = firewall

    @property
    def id(self) -> str:
        """Return the role as a URL without a password."""
        host = self.server.fact("properties.fullyQualifiedDomainName")
        return f"postgresql://{self.name}@{host}"

    def read(self) -> Facts | None:
        """Read the role from the catalogue."""
        with self.administer() as connection:
            return read_row(connection, _FACTS, self.name)

    def desired(self) -> Facts:
        """Want a role that can log in and has no privilege on the server."""
        return {"login": True, "powers": [], "memberships": []}

    @repeated
    def write(self, facts: Facts | None) -> None:
        """Create the role without a password, or revoke its privileges. One transaction.

        Raises PermissionDenied for a privilege that the administrator cannot revoke: on a managed server some belong to
        the service, and only the grantor can revoke a membership.
        """
        from psycopg.errors import DuplicateObject, InsufficientPrivilege

        before = facts or {}
        # PostgreSQL refuses even NO… of an attribute that the administrator lacks, so only the role's own are named.
        attributes = [f"NO{power}" for power in before.get("powers", ())]
        verb = "CREATE" if facts is None else "ALTER"
        # Another run may have created it after this one had read.
        with suppress(DuplicateObject), self.administer() as connection:
            try:
                connection.execute(statement(" ".join([verb, "ROLE {} LOGIN", *attributes]), self.name))
                for group in before.get("memberships", ()):
                    connection.execute(statement("REVOKE {} FROM {}", group, self.name))
            except InsufficientPrivilege as error:
                raise self._denied(before, error.diag.message_primary) from error
            left = read_row(connection, _FACTS, self.name) or {}
            if left.get("powers") or left.get("memberships"):
                raise self._denied(left, "another role granted it")

    def _denied(self, facts: Facts, reason: str | None) -> PermissionDenied:
        powers = [*facts.get("powers", ()), *(f"membership in {group}" for group in facts.get("memberships", ()))]
        held = f" (it has {', '.join(powers)})" if powers else ""
        message = (
            f"Database role {self.name}: {self.administrator.name} lacks the privileges to change it{held}: {reason}."
        )
        action = f"Have its creator revoke these privileges, drop the role, or set another `postgresql.{self.key}`."
        return PermissionDenied(message, action)

    def grant_to_administrator(self, connection: psycopg.Connection[Any]) -> None:
        """Grant the role to the administrator of the connection. Raises PermissionDenied for a role of another's."""
        from psycopg.errors import InsufficientPrivilege

        try:
            connection.execute(statement("GRANT {} TO CURRENT_USER", self.name))
        except InsufficientPrivilege as error:
            raise self._denied({}, error.diag.message_primary) from error

    @repeated
    def set_password(self, password: Secret) -> None:
        """Set the role's password; only its SCRAM verifier is sent, so that no statement log can have the password."""
        from psycopg import sql

        with self.administer() as connection:
            verifier = connection.pgconn.encrypt_password(
                password.reveal().encode(), self.name.encode(), b"scram-sha-256"
            )
            connection.execute(statement("ALTER ROLE {} PASSWORD ", self.name) + sql.Literal(verifier.decode()))

    def administer(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Connect as the Entra administrator; retry while a new administrator or firewall rule takes effect.

        Raises PermissionDenied for an operator who is no member of the administrators' group.
        """
        import psycopg

        def is_early(error: BaseException) -> bool:
            # The caller of a check may be no administrator, whom no waiting helps.
            if self.session.mode == "check" or not isinstance(error, psycopg.OperationalError):
                return False
            if distrusts_certificate(str(error)):
                return False
            return any(resource.recently_written for resource in (self.administrator, *self.firewall()))

        try:
            return retry_on(lambda: sign_in(self.administrator, database), is_early, _SPREAD_SECONDS)
        except psycopg.OperationalError as error:
            if not _is_refusal(error):
                raise
            group = self.administrator.name
            reason = self.session.redactor.one_line(str(error), _LONGEST_REASON)
            message = f"{self.server}: it refused your token as a member of {group}: {reason}"
            action = f"Join the Entra group {group}, {AFTER_JOINING}"
            raise PermissionDenied(message, action, needs=f"membership in the Entra group {group}") from error
