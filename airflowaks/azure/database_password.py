"""The password of a database role: PostgreSQL must accept the vault's. A login reads it, the operator writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.database_role import WRONG_PASSWORD, connect
from airflowaks.cloud.database_urls import DatabaseUrl, password_of
from airflowaks.cloud.redaction import Secret
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.resource import Facts, Resource

if TYPE_CHECKING:
    import psycopg

    from airflowaks.azure.database_role import DatabaseRole
    from airflowaks.azure.vault_secret import VaultSecret


class DatabasePassword(Resource):
    """The password of a role. Its only fact is whether the vault's secret opens the database."""

    kind = "database password"

    def __init__(self, role: DatabaseRole, secret: VaultSecret, *, depends_on: tuple[Resource, ...] = ()) -> None:
        super().__init__(role.session, role.name, parent=role, depends_on=(secret, *depends_on))
        self.role = role
        self.secret = secret

    @property
    def id(self) -> str:
        """Return the role's URL, without a password."""
        return self.role.id

    def read(self) -> Facts:
        """Log in with the vault's secret. Raises psycopg.OperationalError unless the password is the reason."""
        import psycopg

        held, desired = self.secret.value, self.secret.desired_value
        if held is None or not isinstance(desired, Secret):
            return {"opens": AFTER_APPLY}
        if password_of(held.reveal(), self.role.name) != password_of(desired.reveal(), self.role.name):
            return {"opens": AFTER_APPLY}
        try:
            self._log_in().close()
        except psycopg.OperationalError as error:
            if WRONG_PASSWORD not in str(error):
                raise
            # Another run may have written a newer one, to the vault and then here.
            self.secret.refresh()
            return {"opens": "no"}
        return {"opens": "yes"}

    def desired(self) -> Facts:
        """Want the vault's secret to open the database."""
        return {"opens": "yes"}

    def write(self, facts: Facts | None) -> None:
        """Set the role's password to the vault's, and again where another run has meanwhile written a newer one."""
        del facts
        accepted = None
        while accepted != (password := self._url().password):
            self.role.set_password(self.session.redactor.learn(password))
            accepted = password
            self.secret.refresh()

    def prove(self) -> str:
        """Create a table as Airflow would, in a transaction that is rolled back, and return a sentence about it.

        Raises psycopg.Error where that fails.
        """
        with self._log_in() as connection:
            connection.execute("CREATE TABLE airflowaks_check (seen timestamptz)")
            row = connection.execute("SELECT current_user, current_setting('server_version')").fetchone() or ("", "")
            connection.rollback()
        return f"{row[0]} created a table on PostgreSQL {row[1]}"

    def analyze(self) -> None:
        """Collect the statistics of the role's database, which an upgrade to another major version may lose.

        https://learn.microsoft.com/azure/postgresql/configure-maintain/concepts-major-version-upgrade#post-upgrade
        """
        with self._log_in() as connection:
            connection.execute("ANALYZE")

    def _log_in(self) -> psycopg.Connection[Any]:
        url = self._url()
        return connect(self.role.server, url.database, url.user, url.password)

    def _url(self) -> DatabaseUrl:
        return DatabaseUrl.parse(self.secret.require("value").reveal())
