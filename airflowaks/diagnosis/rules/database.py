"""The database: why Airflow cannot log in or lacks privileges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import DOWNSTREAM, WARNING, Cause, Section, differing, in_turn, missing, status_of
from airflowaks.steps import airflow, backend, key_vault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

_SOURCES = ("log", "reading", "resource", "task", "container")
_EFFECTS = (*DOWNSTREAM, "AKA-004")
_LEARN = "https://learn.microsoft.com/azure/postgresql/"
_NETWORK = f"{_LEARN}network/concepts-networking-public"
_NEARLY_ALL = 0.9
# Pods get a new secret only after a restart.
_URLS = in_turn(key_vault.secrets, airflow.components)
DATABASE = Section(*_SOURCES, effects=_EFFECTS)


@DATABASE.rule("AKA-501", effects=("AKA-5", *_EFFECTS), link=f"{_LEARN}configure-maintain/how-to-stop-server")
def _server_is_stopped(facts: Snapshot) -> Iterable[Cause]:
    status = status_of(facts, "backend.server")
    if status and status.state.lower() in ("stopped", "stopping", "disabled", "inaccessible"):
        yield Cause(
            f"The PostgreSQL server is {status.state.lower()}.",
            "Run `az postgres flexible-server start`. Azure starts a stopped server automatically after seven days.",
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
        usage = [f"{database.connections} of {database.most_connections} connections are in use"]
    yield Cause(
        "The PostgreSQL server has no free connections.",
        "Choose a larger `postgresql.sku` and run step 3, enable PgBouncer, or lower Airflow's pool sizes.",
        [*usage, *DATABASE.lines(facts, *words)],
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
    if not facts.unread("backend.database"):
        # The server answers now, so the log of a healthy pod is about the past.
        unhealthy = {pod.component for pod in facts.kubernetes.pods.values() if not pod.healthy}
        lines = [line for line in lines if line.component in unhealthy]
    yield Cause(
        "The PostgreSQL server is unreachable.",
        "Check the server's state in the portal, its DNS name, the firewall and port 5432.",
        lines,
    )


@DATABASE.rule(
    "AKA-514", WARNING, link=f"{_LEARN}security/security-entra-configure", effects=("AKA-004",), remedy=backend.servers
)
def _operator_cannot_sign_in(facts: Snapshot) -> Iterable[Cause]:
    problem = facts.unread("backend.administrator")
    if problem and not facts.unread("backend.database"):
        yield Cause(
            "You cannot sign in to the PostgreSQL server as administrator, so Airflow's role is not checked.",
            "Run step 3, which makes the administrators' group an administrator of the server; then sign in again.",
            [f"backend.administrator: {problem}"],
        )
