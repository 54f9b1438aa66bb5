"""The database: why Airflow cannot log in or lacks privileges."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.cloud.connection import AFTER_JOINING
from airflowaks.diagnosis.backend_fixes import (
    allow_writes,
    end_blocking_transactions,
    end_idle_transactions,
    reset_parameter,
)
from airflowaks.diagnosis.facts.waiting import duration
from airflowaks.diagnosis.power import start_server
from airflowaks.diagnosis.rules.rule import DOWNSTREAM, WARNING, Cause, Section, differing, in_turn, missing, status_of
from airflowaks.steps import airflow, backend, key_vault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import LogLine, Snapshot
    from airflowaks.diagnosis.rules.rule import Remedy

_SOURCES = ("log", "reading", "resource", "task", "container")
_EFFECTS = (*DOWNSTREAM, "AKA-004", "AKA-317")
_LEARN = "https://learn.microsoft.com/azure/postgresql/"
_NETWORK = f"{_LEARN}network/concepts-networking-public"
_NEARLY_ALL = 0.9
# Pods get a new secret only after a restart.
_URLS = in_turn(key_vault.secrets, airflow.components)
_SESSIONS = f"{_LEARN}troubleshoot/how-to-high-cpu-utilization#terminate-long-running-transactions"
_POOL = re.compile(r"QueuePool limit of size (\d+) overflow (\d+)")
_DROPPED = (
    ("server closed the connection unexpectedly",),
    ("SSL SYSCALL error: EOF detected",),
    ("SSL connection has been closed unexpectedly",),
    ("terminating connection due to idle-session timeout",),
)
_BY_STATEMENT = "This fix resets it, and ends the sessions that keep it."
# By the source of the setting (https://www.postgresql.org/docs/current/view-pg-settings.html): reason, fix and remedy.
_READ_ONLY: dict[str, tuple[str, str, Remedy | None]] = {
    "recovery": (
        "the server is a replica, perhaps after a failover",
        "Check the server's high availability in the portal. If it has failed over, restart Airflow's components.",
        None,
    ),
    "database": ("somebody has set default_transaction_read_only for the database", _BY_STATEMENT, allow_writes),
    "user": ("somebody has set default_transaction_read_only for Airflow's role", _BY_STATEMENT, allow_writes),
    "database user": ("somebody has set default_transaction_read_only for Airflow's role", _BY_STATEMENT, allow_writes),
    "configuration file": (
        "the server allows no writes",
        "If 95 % of the storage is used, raise `postgresql.storage_gb` and run step 3; else reset the parameter.",
        partial(reset_parameter, "default_transaction_read_only"),
    ),
}
DATABASE = Section(*_SOURCES, effects=_EFFECTS)


@DATABASE.rule(
    "AKA-501",
    effects=("AKA-5", *_EFFECTS),
    link=f"{_LEARN}configure-maintain/how-to-stop-server",
    remedy=start_server,
)
def _server_is_stopped(facts: Snapshot) -> Iterable[Cause]:
    status = status_of(facts, "backend.server")
    if status and status.state.lower() in ("stopped", "stopping", "disabled", "inaccessible"):
        yield Cause(
            f"The PostgreSQL server is {status.state.lower()}.",
            "Ask who stopped it, or start it. Azure starts a stopped server automatically after seven days.",
            [f"{status.title}: {status.state}"],
        )


@DATABASE.rule("AKA-502", effects=("AKA-513", *_EFFECTS), link=_NETWORK, remedy=backend.servers)
def _firewall_blocks_airflow(facts: Snapshot) -> Iterable[Cause]:
    wrong = [*facts.azure.deviations("firewall rule"), *differing(facts, "backend.server", "publicNetworkAccess")]
    lines = DATABASE.lines(facts, ("no pg_hba.conf entry for host",))
    yield Cause(
        "The PostgreSQL server's firewall blocks its clients.",
        "Run step 3, which writes the rules for the cluster's outbound addresses and those of the environment file.",
        # A connection without TLS gets the same error; AKA-503 finds it.
        [*wrong, *(line for line in lines if "no encryption" not in line.text.lower())],
    )


DATABASE.text_rules("AKA-503", remedy=_URLS)


@DATABASE.rule("AKA-504", link=f"{_LEARN}security/security-access-control", remedy=backend.database)
def _role_does_not_own_the_database(facts: Snapshot) -> Iterable[Cause]:
    words = (("permission denied for schema public",), ("permission denied for database",), ("must be owner of",))
    privileges = []
    for whose, database in (("Airflow's", facts.backend.database), ("Celery's", facts.backend.celery)):
        privileges += [] if database.owner else [f"{whose} role does not own its database"]
        privileges += [] if database.creates else [f"{whose} role cannot create tables in the schema public"]
    yield Cause(
        "The role of Airflow or Celery does not own its database, or cannot create tables in its schema public.",
        "Run step 3, which makes the role the owner and grants it the schema.",
        [*privileges, *DATABASE.lines(facts, *words)],
    )


DATABASE.text_rules("AKA-506")


@DATABASE.rule("AKA-507", link=f"{_LEARN}security/security-overview", remedy=_URLS)
def _password_is_wrong(facts: Snapshot) -> Iterable[Cause]:
    lines = DATABASE.lines(facts, ("password authentication failed",))
    if facts.backend.role.exists:
        yield Cause(
            "PostgreSQL refuses the password of Airflow or Celery: the vault, a pod and the role have different ones.",
            "Run step 4, which sets the role's password to the vault's, then step 7, which restarts pods with an older"
            " one.",
            # The administrator signs in with a token, not with a password.
            [line for line in lines if line.where != "backend.administrator"],
        )


@DATABASE.rule("AKA-508", link=f"{_LEARN}configure-maintain/concepts-limits")
def _connections_are_used_up(facts: Snapshot) -> Iterable[Cause]:
    database = facts.backend.database
    words = (("remaining connection slots are reserved",), ("too many clients already",))
    usage = []
    if database.most_connections and database.connections >= _NEARLY_ALL * database.most_connections:
        most = ", ".join(f"{count} of {client}" for client, count in database.clients.items())
        usage = [f"{database.connections} of {database.most_connections} connections are in use: {most}"]
    yield Cause(
        "The PostgreSQL server has no free connections.",
        "Stop the client that holds most of them, if it is not Airflow; or choose a larger `postgresql.sku` and run"
        " step 3, enable PgBouncer, or lower Airflow's pool sizes.",
        [*usage, *DATABASE.lines(facts, *words)],
    )


@DATABASE.rule("AKA-516", link=f"{_LEARN}extensions/concepts-storage", automatic=True)
def _database_is_read_only(facts: Snapshot) -> Iterable[Cause]:
    """Find that nothing can be written: after a failover, with a full storage, or because somebody has set it so.

    https://techcommunity.microsoft.com/blog/azuredbsupport/-/4464751: from 95 % of the storage the service sets it.
    """
    source = facts.backend.database.read_only
    lines = DATABASE.lines(facts, ("cannot execute", "in a read-only transaction"))
    reason, fix, remedy = _READ_ONLY.get(source, _READ_ONLY["configuration file"])
    stated = [f"default_transaction_read_only is on: {source}"] if source not in ("", "recovery") else []
    recovering = ["the server is in recovery (pg_is_in_recovery)"] if source == "recovery" else []
    if source or facts.unread("backend.database"):
        yield Cause(f"The database is read-only: {reason}.", fix, [*stated, *recovering, *lines], remedy=remedy)


@DATABASE.rule("AKA-517", link=_SESSIONS, remedy=end_blocking_transactions, effects=("AKA-515", "AKA-518", *_EFFECTS))
def _transaction_blocks_others(facts: Snapshot) -> Iterable[Cause]:
    for transaction in facts.backend.transactions:
        if transaction.blocks:
            yield Cause(
                f"A transaction of {transaction.role} blocks {transaction.blocked} of Airflow's sessions for"
                f" {duration(transaction.blocked_seconds)}.",
                "End its session. If it migrates the database or makes a backup, wait for it.",
                [transaction],
            )


@DATABASE.rule("AKA-518", WARNING, link=_SESSIONS, automatic=True, effects=())
def _transaction_is_long(facts: Snapshot) -> Iterable[Cause]:
    """Find old transactions. What Airflow locks without waiting, such as its pools, blocks it without a trace."""
    old = [each for each in facts.backend.transactions if each.is_long and not each.blocks]
    yield Cause(
        "A transaction has been open for long: its locks may keep the scheduler from queueing tasks.",
        "End its session, if it is idle in its transaction; else see what its statement is for.",
        old,
        remedy=end_idle_transactions if any(each.idle for each in old) else None,
    )


@DATABASE.rule("AKA-515", link="https://docs.sqlalchemy.org/en/20/errors.html#error-3o7r")
def _pool_is_too_small(facts: Snapshot) -> Iterable[Cause]:
    """Find components whose connection pool is used up, in SQLAlchemy's words (`sqlalchemy/pool/impl.py`)."""
    lines = DATABASE.lines(facts, ("QueuePool limit of size",), sources=("log", "container"))
    for component in sorted({line.component for line in lines}):
        own = [line for line in lines if line.component == component]
        sizes = [match for line in own if (match := _POOL.search(line.text))]
        size = f": {sizes[0][1]} connections, and {sizes[0][2]} more for a while" if sizes else ""
        yield Cause(
            f"The database connection pool of the component {component} is too small{size}.",
            "Raise AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE or AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW in the"
            " manifest's ConfigMap and run step 7; first end a transaction that blocks others.",
            own,
            frozenset({component} - {""}),
        )


@DATABASE.rule(
    "AKA-519",
    WARNING,
    link=f"{_LEARN}server-parameters/param-client-connection-defaults-statement-behavior",
    automatic=True,
)
def _idle_connections_are_dropped(facts: Snapshot) -> Iterable[Cause]:
    """Find connections that are cut, in the words of libpq and PostgreSQL; apache/airflow#16988 has them on AKS."""
    seconds = facts.backend.database.idle_seconds
    lines = _of_unhealthy(facts, DATABASE.lines(facts, *_DROPPED))
    # A pod that forwards to a server which it does not reach closes the connection as well.
    lines = [line for line in lines if line.source != "reading" or "connection failed" not in line.text]
    stated = [f"idle_session_timeout is {duration(seconds)}"] if seconds else []
    yield Cause(
        f"The server ends sessions that are idle for {duration(seconds)}."
        if seconds
        else "Connections to the database were dropped: the server restarted or failed over, or they were idle.",
        "Set the server parameter idle_session_timeout to 0: Airflow keeps connections in its pools."
        if seconds
        else "Check the server's health in the portal, and the idle timeout of the cluster's outbound address: four"
        " minutes for a NAT gateway.",
        [*stated, *lines],
        remedy=partial(reset_parameter, "idle_session_timeout") if seconds else None,
    )


@DATABASE.rule(
    "AKA-509", effects=("AKA-507", *_EFFECTS), link=_LEARN, remedy=in_turn(backend.database, key_vault.secrets)
)
def _role_is_missing(facts: Snapshot) -> Iterable[Cause]:
    role = facts.backend.role
    lines = DATABASE.lines(facts, ("role", "is not permitted to log in"))
    if not role.exists or not role.login or lines:
        yield Cause(
            "Airflow's role cannot log in to the database: it does not exist, or lacks the attribute LOGIN.",
            "Run step 3, which creates the role, then step 4, which sets its password.",
            ["the role lacks LOGIN" if role.exists else "the role does not exist", *lines],
        )


@DATABASE.rule("AKA-510", link=_LEARN)
def _database_is_missing(facts: Snapshot) -> Iterable[Cause]:
    words = ("database", "does not exist", "FATAL")
    yield Cause(
        "Airflow's database does not exist.",
        "Restore the server to a time before the database was dropped, or run steps 3 and 7 for an empty database.",
        [*missing(facts, "backend.database"), *DATABASE.lines(facts, words)],
    )


DATABASE.text_rules("AKA-511", remedy=airflow.configuration)


@DATABASE.rule("AKA-513", link=_NETWORK)
def _server_is_unreachable(facts: Snapshot) -> Iterable[Cause]:
    words = (
        ("could not translate host name",),
        ("connection to server", "timeout expired"),
        ("connection to server", "Connection refused"),
        ("connection to server", "timed out"),
        ("the database system is",),
    )
    lines = DATABASE.lines(facts, *words)
    yield Cause(
        "The PostgreSQL server is unreachable.",
        "Check the server's state in the portal, its DNS name, the firewall and port 5432.",
        _of_unhealthy(facts, lines),
    )


def _of_unhealthy(facts: Snapshot, lines: list[LogLine]) -> list[LogLine]:
    """Return the lines that count: if the server answers now, the log of a healthy pod is about the past."""
    if facts.unread("backend.database"):
        return lines
    unhealthy = {pod.component for pod in facts.kubernetes.pods.values() if not pod.healthy}
    return [line for line in lines if line.component in unhealthy]


@DATABASE.rule(
    "AKA-514", WARNING, link=f"{_LEARN}security/security-entra-configure", effects=("AKA-004",), remedy=backend.servers
)
def _operator_cannot_sign_in(facts: Snapshot) -> Iterable[Cause]:
    problem = facts.unread("backend.administrator")
    if problem and not facts.unread("backend.database"):
        yield Cause(
            "You cannot sign in to the PostgreSQL server as administrator, so Airflow's role is not checked.",
            "Run step 3, which makes the administrators' group an administrator of the server. If you have just joined"
            f" the group, {AFTER_JOINING}",
            [f"backend.administrator: {problem}"],
        )
