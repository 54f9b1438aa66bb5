"""Step 4: the vault, and Airflow's secrets in it, which are generated here and never shown.

Each secret is written to the vault first, then to the service that accepts it, then a login proves it. After a crash at
any point the vault is right, and running the step again updates the service.
"""

from __future__ import annotations

import secrets as random
from typing import TYPE_CHECKING, Any

from airflowaks.azure.broker_url import BrokerUrl
from airflowaks.azure.database_password import DatabasePassword
from airflowaks.azure.key_vault import Vault
from airflowaks.azure.redis import Rank, broker_url
from airflowaks.azure.roles import Role, RoleAssignment
from airflowaks.azure.vault_secret import NEW_SECRET, VaultSecret
from airflowaks.cloud.database_urls import DatabaseUrl, password_of
from airflowaks.cloud.redaction import Secret
from airflowaks.engine.changes import AFTER_APPLY, Changes
from airflowaks.engine.converge import converge
from airflowaks.engine.observation import observe
from airflowaks.engine.resource import ADOPTED, set_step
from airflowaks.errors import InvalidParameter
from airflowaks.steps import backend, cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.azure.database import Database
    from airflowaks.engine.checks import Checks
    from airflowaks.session import Session

FERNET_KEY = "airflow-fernet-key"
API_SECRET_KEY = "airflow-api-secret-key"  # noqa: S105 - a name
JWT_SECRET = "airflow-jwt-secret"  # noqa: S105 - a name
SQL_CONNECTION = "airflow-sql-alchemy-conn"
SQL_CONNECTION_ASYNC = "airflow-sql-alchemy-conn-async"
RESULT_BACKEND = "airflow-result-backend"
KEDA_CONNECTION = "airflow-keda-connection"
BROKER_URL = "airflow-broker-url"
ADMIN_PASSWORD = "airflow-admin-password"  # noqa: S105 - a name

SECRETS = (
    FERNET_KEY,
    API_SECRET_KEY,
    JWT_SECRET,
    SQL_CONNECTION,
    SQL_CONNECTION_ASYNC,
    KEDA_CONNECTION,
    RESULT_BACKEND,
    BROKER_URL,
    ADMIN_PASSWORD,
)
"""The names of the secrets, in the order in which they are made."""

_RANDOM_BYTES = 48
_TASKS_FAIL = "Tasks that are queued or running fail when step 7 rolls the pods: pause the DAGs first."
"""The api-server validates with one key, and a 403 is a failed heartbeat, of which three end a task.

Source: Airflow 3.3.2, airflow/sdk/execution_time/supervisor.py, `_handle_heartbeat_failures`.
"""
_NO_NEW_CONNECTION = "From now on {} opens no new connection to its database: run step 7 at once, which rolls the pods."


class Resources:
    """The resources of step 4, in order. The SQL connection has the password of Airflow's role; two secrets repeat it.

    The result backend has that of Celery's role.
    """

    def __init__(self, session: Session) -> None:
        step1, step3 = session.memoize(cluster.Resources), session.memoize(backend.Resources)
        operator = session.operator
        self.server, self.broker, self.route = step3.server, step3.broker, step3.route
        self.vault = Vault(session, session.environment.key_vault.name, parent=step1.group)
        self.access = RoleAssignment(
            Role.KEY_VAULT_SECRETS_OFFICER, self.vault, operator.name, operator.object_id, operator.kind
        )
        self.fernet_key = self._secret(FERNET_KEY, "Fernet keys, the newest first", _fernet_keys, _fernet_key)
        self.api_secret_key = self._secret(API_SECRET_KEY, "Airflow's API secret key", _random_value, _random_text)
        self.jwt_secret = self._secret(JWT_SECRET, "Airflow's JWT secret", _random_value, _random_text)
        self.sql_connection = self._secret(
            SQL_CONNECTION, "SQLAlchemy URL, psycopg2", *self._url(step3.database, "postgresql+psycopg2")
        )
        self.result_backend = self._secret(
            RESULT_BACKEND, "Celery result backend URL", *self._url(step3.celery_database, "db+postgresql+psycopg2")
        )
        self.copies = [
            self._secret(name, purpose, self._copy(scheme), depends_on=(self.sql_connection,))
            for name, purpose, scheme in (
                (SQL_CONNECTION_ASYNC, "SQLAlchemy URL, psycopg", "postgresql+psycopg"),
                (KEDA_CONNECTION, "KEDA's connection URL", "postgresql"),
            )
        ]
        self.broker_url = BrokerUrl(self.vault, self.access, BROKER_URL, self.broker, self.route)
        self.admin_password = self._secret(
            ADMIN_PASSWORD, "Password of Airflow's administrator", _random_value, _random_text
        )
        self.password = DatabasePassword(step3.role, self.sql_connection, depends_on=tuple(self.copies))
        self.celery_password = DatabasePassword(step3.celery_role, self.result_backend)
        self.jwt_secret.interrupts = _TASKS_FAIL
        self.sql_connection.interrupts = _NO_NEW_CONNECTION.format("Airflow")
        self.result_backend.interrupts = _NO_NEW_CONNECTION.format("Celery")
        self.vault.needs = step1.provider_of(self.vault)
        self.sql_connection.needs, self.result_backend.needs = (step3.role,), (step3.celery_role,)
        self.broker_url.needs = (step3.broker,)
        self.password.needs, self.celery_password.needs = (step3.privileges,), (step3.celery_privileges,)
        set_step(4, self)

    @property
    def secrets(self) -> list[VaultSecret]:
        """Return the secrets, in order."""
        connections = [self.sql_connection, *self.copies, self.result_backend, self.broker_url]
        return [self.fernet_key, self.api_secret_key, self.jwt_secret, *connections, self.admin_password]

    def _secret(self, name: str, purpose: str, *makers: Any, depends_on: tuple[VaultSecret, ...] = ()) -> VaultSecret:
        return VaultSecret(self.vault, self.access, name, purpose, *makers, depends_on=depends_on)

    def _url(self, database: Database, scheme: str) -> tuple[Callable[[Secret | None], Any], Callable[[], str]]:
        """Return how the URL of a database's owner follows from the one in the vault, and how a new one is made."""
        role, server = database.role.name, self.server

        def spell(password: str) -> str:
            return DatabaseUrl(role, password, server.host, server.port, database.name).spell(scheme)

        def desired(held: Secret | None) -> Any:
            if not server.has_host:
                return AFTER_APPLY
            password = password_of(held.reveal(), role) if held else None
            return spell(password) if password else NEW_SECRET

        def new() -> str:
            database.role.require("login")  # the vault must not name a role that step 3 has yet to create
            return spell(_random_text())

        return desired, new

    def _copy(self, scheme: str) -> Callable[[Secret | None], Any]:
        def spell(_held: Secret | None) -> Any:
            source = self.sql_connection.desired_value
            return DatabaseUrl.parse(source.reveal()).spell(scheme) if isinstance(source, Secret) else AFTER_APPLY

        return spell


def _fernet_keys(held: Secret | None) -> Any:
    from cryptography.fernet import Fernet

    try:
        usable = held is not None and all(Fernet(key) for key in held.reveal().split(","))
    except ValueError:
        usable = False
    return held if usable else NEW_SECRET


def _fernet_key() -> str:
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def _random_value(held: Secret | None) -> Any:
    return held or NEW_SECRET


def _random_text() -> str:
    return random.token_urlsafe(_RANDOM_BYTES)


def vault(session: Session) -> Changes:
    """Create the vault, and allow the operator to write secrets.

    The operator's role serves an apply and is no part of the environment: a check does not ask for it.
    """
    step = session.memoize(Resources)
    return converge(session, step.vault, *([] if session.mode == "check" else [step.access]))


def secrets(session: Session) -> Changes:
    """Generate the missing secrets, and set the passwords of the database roles to the vault's."""
    step = session.memoize(Resources)
    step.broker.forget_keys()  # step 3 read them, and they may have been regenerated since
    return converge(session, *step.secrets, step.password, step.celery_password)


def check_secret(name: str) -> None:
    """Check that there is a secret of that name. Raises InvalidParameter."""
    if name not in SECRETS:
        raise InvalidParameter(f'rotate: there is no secret "{name}".', f"Set `rotate` to one of {', '.join(SECRETS)}.")


def check_rotation(session: Session, name: str) -> None:
    """Check, before anything is created, that a secret can be rotated. Without a name do nothing.

    The access keys of an adopted broker are its owner's: a regenerated key locks out whoever else uses it, and takes
    "write permission to the cache resource" (https://learn.microsoft.com/rest/api/redis/redis/regenerate-key).

    Raises:
        InvalidParameter: there is no secret of that name, or it has a key of an adopted broker.

    """
    if not name:
        return
    check_secret(name)
    broker = session.memoize(Resources).broker
    with session.translated(broker):
        if name == BROKER_URL and broker.origin == ADOPTED:
            message = f"rotate: {broker.parent or broker} was not made here; its owner regenerates the access keys."
            raise InvalidParameter(message, "Ask its owner, then run step 4 without `rotate`: it takes a listed key.")


def rotate(session: Session, name: str) -> Changes:
    """Renew one secret on both sides: the vault first, then the other side, then the proof. Without a name do nothing.

    The URLs of Airflow's database share a password and are renewed together. The broker's URL gets the regenerated idle
    key: the key in use stays valid until the next rotation, so that running pods can be rolled. A new Fernet key goes
    in front of the others, so that what they encrypted stays readable; `airflow rotate-fernet-key` encrypts it again,
    and only then may they be removed.

    Raises:
        InvalidParameter: see `check_rotation`.
        MissingDependency: the secret was never made.

    """
    if not name:
        return Changes()
    check_rotation(session, name)
    step = session.memoize(Resources)
    (secret,) = (secret for secret in step.secrets if secret.name == name)
    with session.translated(secret):
        if secret is step.fernet_key:
            secret.replace(f"{_fernet_key()},{_held(secret)}")
        elif secret is step.broker_url:
            _renew_broker_key(step)
        elif secret in (step.sql_connection, *step.copies):
            step.sql_connection.require("value")
            step.sql_connection.renew()
        else:
            secret.renew()
    return converge(session, *step.secrets, step.password, step.celery_password)


def _renew_broker_key(step: Resources) -> None:
    step.broker.forget_keys()
    keys = step.broker.keys()
    idle: Rank = "Primary" if password_of(_held(step.broker_url)) == keys.secondary.reveal() else "Secondary"
    if step.broker.session.applies:
        keys = step.broker.regenerate(idle)
    step.broker_url.replace(broker_url(step.broker, keys.primary if idle == "Primary" else keys.secondary))


def _held(secret: VaultSecret) -> str:
    value: Secret = secret.require("value")
    return value.reveal()


def everything(session: Session) -> Changes:
    """Run all functions of the step."""
    return vault(session) + secrets(session)


def checks(session: Session) -> Checks:
    """Check the vault's values: log in as Airflow and as Celery and create a table, and PING the broker."""
    step = session.memoize(Resources)
    observations = {
        "Airflow's role can create tables": step.password.prove,
        "Celery's role can create tables": step.celery_password.prove,
        "the vault's broker URL works": step.broker_url.prove,
    }
    return observe(session, observations)
