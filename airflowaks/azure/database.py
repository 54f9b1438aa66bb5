"""The databases of Airflow and Celery, which the Entra administrator creates in SQL, and what their owners may do.

A database that Resource Manager creates belongs to the administrator login, or to azuresu on an Entra-only server, and
no Entra administrator can hand it over. The schema `public` belongs to azure_pg_admin, of which the Entra administrator
is a member; the database's owner is not, and creates tables only after a grant. Sources:
cyrilgdn/terraform-provider-postgresql#500, hashicorp/terraform-provider-azurerm#27895, frappe/frappe#39145, #39150.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflowaks.azure.database_role import read_row, repeated, statement
from airflowaks.azure.postgresql import ServerChild
from airflowaks.engine.resource import Resource
from airflowaks.errors import PermissionDenied

if TYPE_CHECKING:
    import psycopg

    from airflowaks.azure.database_role import DatabaseRole
    from airflowaks.engine.resource import Facts

_FACTS = """
    SELECT pg_get_userbyid(datdba) AS owner,
           NOT EXISTS (
               SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) AS granted WHERE granted.grantee = 0
           ) AS private,
           pg_has_role(datdba, 'USAGE') AS administered,
           has_database_privilege(oid, 'CONNECT') AS open
    FROM pg_database WHERE datname = %s
"""
_CREATES = """
    SELECT EXISTS (
        SELECT FROM pg_roles, pg_namespace
        WHERE rolname = %s AND nspname = 'public'
          AND has_schema_privilege(pg_roles.oid, pg_namespace.oid, 'USAGE')
          AND has_schema_privilege(pg_roles.oid, pg_namespace.oid, 'CREATE')
    )
"""


class Database(ServerChild):
    """A database that belongs to a role: read from Resource Manager, created in SQL."""

    kind = "database"
    type = "databases"
    sdk = "postgresql.databases"
    immutable = ("properties.charset",)
    settling_seconds = 600.0
    """How soon Resource Manager lists a database that SQL has created is documented nowhere."""

    def __init__(self, role: DatabaseRole, key: str) -> None:
        """Take `key`, which has the database's name in the section `postgresql` of the environment file."""
        name = getattr(role.session.environment.postgresql, key)
        super().__init__(role.server, name, depends_on=(role,))
        self.role, self.key = role, key

    def desired(self) -> Facts:
        """Return the character set UTF-8, which Airflow requires."""
        return {"properties": {"charset": "UTF8"}}

    @repeated
    def put(self, body: dict[str, Any]) -> None:
        """Create the database. It may exist already, where Resource Manager has not yet seen it."""
        del body
        from psycopg.errors import DuplicateDatabase

        create = statement("CREATE DATABASE {} OWNER {} ENCODING 'UTF8'", self.name, self.role.name)
        with self.role.administer() as connection, suppress(DuplicateDatabase):
            connection.autocommit = True  # PostgreSQL creates no database in a transaction
            self.role.grant_to_administrator(connection)
            connection.execute(create)


class DatabasePrivileges(Resource):
    """Who may do what with a database: its role owns it and creates tables, no other role connects."""

    kind = "database privileges"

    def __init__(self, database: Database) -> None:
        super().__init__(database.session, database.name, parent=database, depends_on=(database.role,))
        self.database = database
        self.role = database.role

    @property
    def id(self) -> str:
        """Return the URL of the role and the database, without a password."""
        return f"{self.role.id}/{self.name}"

    def read(self) -> Facts | None:
        """Read owner and privileges from the catalogues. Raises PermissionDenied for a database of another owner."""
        with self.role.administer() as connection:
            row = read_row(connection, _FACTS, self.name)
        if row is None:
            return None
        if row["owner"] != self.role.name and not row["administered"]:
            message = (
                f"Database {self.name}: it belongs to {row['owner']}, and {self.role.administrator.name} cannot hand it"
                f" over to {self.role.name}."
            )
            action = (
                f"Have {row['owner']} hand it over, delete it with `az postgres flexible-server db delete` if it holds"
                f" nothing, or set another `postgresql.{self.database.key}`; then run step 3 again."
            )
            raise PermissionDenied(message, action)
        facts = {"owner": row["owner"], "private": row["private"]}
        if not row["open"]:
            return facts
        with self.role.administer(self.name) as connection:
            return {**facts, "creates": self._creates(connection)}

    def _creates(self, connection: psycopg.Connection[Any]) -> bool:
        row = connection.execute(_CREATES, (self.role.name,)).fetchone()
        return bool(row and row[0])

    def desired(self) -> Facts:
        """Want the role to own the database and create tables in it, and all others to stay outside.

        An administrator who did not create the role cannot look into the database; step 4 proves that tables can be
        created.
        """
        owned = {"owner": self.role.name, "private": True}
        unseen = self.facts is not None and "creates" not in self.facts
        return owned if unseen else {**owned, "creates": True}

    @repeated
    def write(self, facts: Facts | None) -> None:
        """Hand the database over, close it to others and grant the schema.

        Raises PermissionDenied if the administrator cannot grant the schema.
        """
        del facts
        from psycopg.errors import InsufficientPrivilege

        with self.role.administer() as connection:
            self.role.grant_to_administrator(connection)
            connection.execute(statement("ALTER DATABASE {} OWNER TO {}", self.name, self.role.name))
            connection.execute(statement("REVOKE ALL ON DATABASE {} FROM PUBLIC", self.name))
        with self.role.administer(self.name) as connection:
            connection.autocommit = True
            with suppress(InsufficientPrivilege):  # most often it is a mere warning
                connection.execute(statement("GRANT ALL ON SCHEMA public TO {}", self.role.name))
            if not self._creates(connection):
                message = f"Database {self.name}: {self.role.administrator.name} cannot grant the schema public."
                action = f"Have its owner run `GRANT ALL ON SCHEMA public TO {self.role.name}` in {self.name}."
                raise PermissionDenied(message, action)
