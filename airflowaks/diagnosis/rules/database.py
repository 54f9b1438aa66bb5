"""The database: why Airflow cannot log in, or cannot do there what it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import (
    CRITICAL,
    DOWNSTREAM,
    WARNING,
    Cause,
    Section,
    differing,
    in_turn,
    lines,
    log_lines,
    missing,
    standing,
)
from airflowaks.steps import airflow, backend, key_vault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

DATABASE = Section()
_AFTER = (*DOWNSTREAM, "AKA-004")
_SAID = ("log", "reading", "resource", "task", "container")
_LEARN = "https://learn.microsoft.com/azure/postgresql/"
_NETWORK = f"{_LEARN}network/concepts-networking-public"
_NEARLY_ALL = 0.9
# What the vault holds anew, pods have only once they are rolled.
_URLS = in_turn(key_vault.secrets, airflow.components)


@DATABASE.rule("AKA-501", CRITICAL, effects=("AKA-5", *_AFTER), link=f"{_LEARN}configure-maintain/how-to-stop-server")
def server_is_stopped(facts: Snapshot) -> Iterable[Cause]:
    """Tell of a server that is stopped, or is not working."""
    known = standing(facts, "backend.server")
    if known and known.state.lower() in ("stopped", "stopping", "disabled", "inaccessible"):
        yield Cause(
            f"The PostgreSQL server is {known.state.lower()}.",
            "Start it with `az postgres flexible-server start`; Azure itself starts a stopped one after seven days.",
            [f"{known.title}: {known.state}"],
        )


@DATABASE.rule("AKA-502", CRITICAL, effects=("AKA-513", *_AFTER), link=_NETWORK, remedy=backend.servers)
def firewall_keeps_airflow_out(facts: Snapshot) -> Iterable[Cause]:
    """Tell of missing or changed firewall rules of the server, and of one that is closed to all."""
    rules = [one for one in facts.azure.resources.values() if one.kind == "firewall rule"]
    wrong = [f"{one.title} does not exist" for one in rules if one.missing]
    wrong += [f"{one.title}: {each}" for one in rules for each in one.differences]
    wrong += differing(facts, "backend.server", "publicNetworkAccess")
    said = [
        one for one in log_lines(facts, ("no pg_hba.conf entry for host",), sources=_SAID) if not _is_plain(one.text)
    ]
    if wrong or said:
        yield Cause(
            "The PostgreSQL server's firewall keeps callers out.",
            "Run step 3: it writes the rules for the cluster's outbound addresses and for the environment's.",
            [*wrong, *lines(said)],
        )


def _is_plain(text: str) -> bool:
    return "no encryption" in text.lower()


DATABASE.said(
    "AKA-503",
    CRITICAL,
    ("no pg_hba.conf entry for host", "no encryption"),
    ("weak sslmode", "may not be used with sslrootcert=system"),
    sources=_SAID,
    cause="Somebody calls the database without TLS, which it refuses.",
    fix="Run step 4: the URLs in the vault say sslmode=verify-full; then step 7 rolls the pods.",
    effects=_AFTER,
    link=f"{_LEARN}security/security-tls",
    remedy=_URLS,
)


@DATABASE.rule(
    "AKA-504", CRITICAL, effects=_AFTER, link=f"{_LEARN}security/security-access-control", remedy=backend.role
)
def role_does_not_own_the_database(facts: Snapshot) -> Iterable[Cause]:
    """Tell that Airflow's role may not make tables."""
    words = (("permission denied for schema public",), ("permission denied for database",), ("must be owner of",))
    said = log_lines(facts, *words, sources=_SAID)
    seen = [] if facts.backend.database.owner else ["the role does not own the database"]
    seen += [] if facts.backend.database.creates else ["the role may not create tables in the schema public"]
    if seen or said:
        yield Cause(
            "Airflow's role does not own its database, and since PostgreSQL 15 only the owner can make tables there.",
            "Run step 3: it hands the database over to the role; grants alone are not enough.",
            [*seen, *lines(said)],
        )


DATABASE.said(
    "AKA-506",
    CRITICAL,
    ("is not allow-listed for",),
    sources=(*_SAID, "operation"),
    cause="An extension is not allowed on the server.",
    fix="Add it to the server parameter azure.extensions.",
    effects=_AFTER,
    link=f"{_LEARN}extensions/how-to-allow-extensions",
)


@DATABASE.rule("AKA-507", CRITICAL, effects=_AFTER, link=f"{_LEARN}security/security-overview", remedy=_URLS)
def password_is_wrong(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the password in the vault, or in a pod, is not the role's."""
    said = log_lines(facts, ("password authentication failed",), sources=_SAID)
    # The operator signs in with a token, which is no password of Airflow's.
    said = [one for one in said if one.where != "backend.administrator"]
    if said and facts.backend.role.exists:
        yield Cause(
            "The database refuses Airflow's password: it was changed on one side only.",
            "Run step 4: it sets the role's password to the vault's; then step 7 rolls pods that have an older one.",
            lines(said),
        )


@DATABASE.rule("AKA-508", CRITICAL, effects=_AFTER, link=f"{_LEARN}configure-maintain/concepts-limits")
def connections_are_used_up(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the server has no connections left for Airflow, or nearly none."""
    database = facts.backend.database
    said = log_lines(facts, ("remaining connection slots are reserved",), ("too many clients already",), sources=_SAID)
    seen = []
    if database.most_connections and database.connections >= _NEARLY_ALL * database.most_connections:
        seen = [f"{database.connections} of {database.most_connections} connections are in use"]
    if seen or said:
        yield Cause(
            "The server's connections are used up.",
            "Choose a larger `postgresql.sku` and run step 3, switch its PgBouncer on, or lower Airflow's pool sizes.",
            [*seen, *lines(said)],
        )


@DATABASE.rule(
    "AKA-509", CRITICAL, effects=("AKA-507", *_AFTER), link=_LEARN, remedy=in_turn(backend.role, key_vault.secrets)
)
def role_is_missing(facts: Snapshot) -> Iterable[Cause]:
    """Tell that Airflow's role does not exist, or may not log in."""
    role = facts.backend.role
    said = log_lines(facts, ("role", "is not permitted to log in"), sources=_SAID)
    if not role.exists or not role.login or said:
        seen = ["the role may not log in" if role.exists else "there is no such role"]
        yield Cause(
            "Airflow's role cannot log in to the database: it does not exist, or lost its right to.",
            "Run step 3, which makes the role, then step 4, which sets its password.",
            [*seen, *lines(said)],
        )


@DATABASE.rule("AKA-510", CRITICAL, effects=_AFTER, link=_LEARN)
def database_is_missing(facts: Snapshot) -> Iterable[Cause]:
    """Tell that Airflow's database does not exist."""
    gone = missing(facts, "backend.database")
    said = log_lines(facts, ("database", "does not exist", "FATAL"), sources=_SAID)
    if gone or said:
        yield Cause(
            "Airflow's database does not exist.",
            "Restore the server to a point before it was dropped; or run steps 3 and 7 for an empty one.",
            [*gone, *lines(said)],
        )


DATABASE.said(
    "AKA-511",
    CRITICAL,
    ("certificate verify failed", "5432"),
    ("SSL error: certificate verify failed",),
    ("root certificate file", "does not exist"),
    sources=_SAID,
    cause="The database's certificate is not trusted by who calls it.",
    fix="Run step 7: it tells pods whose certificates to trust (SSL_CERT_FILE); behind a proxy set `ca_bundle`.",
    effects=_AFTER,
    link=f"{_LEARN}security/security-tls",
    remedy=airflow.configuration,
)


@DATABASE.rule("AKA-513", CRITICAL, effects=_AFTER, link=_NETWORK)
def server_cannot_be_reached(facts: Snapshot) -> Iterable[Cause]:
    """Tell that no connection to the server comes about at all."""
    words = (
        ("could not translate host name",),
        ("connection to server", "timeout expired"),
        ("connection to server", "Connection refused"),
        ("connection to server", "timed out"),
        ("the database system is",),
    )
    said = log_lines(facts, *words, sources=_SAID)
    if not facts.unread("backend.database"):
        # The log of a pod that works tells of what is over.
        ill = {one.component for one in facts.kubernetes.pods.values() if not one.healthy}
        said = [one for one in said if one.component in ill]
    if said:
        yield Cause(
            "The PostgreSQL server cannot be reached.",
            "See the server's state in the portal, and the way to it: DNS, firewall, port 5432.",
            lines(said),
        )


@DATABASE.rule(
    "AKA-514", WARNING, link=f"{_LEARN}security/security-entra-configure", effects=("AKA-004",), remedy=backend.servers
)
def operator_cannot_sign_in(facts: Snapshot) -> Iterable[Cause]:
    """Tell that who diagnoses cannot sign in to the server as administrator, though Airflow can."""
    problem = facts.unread("backend.administrator")
    if problem and not facts.unread("backend.database"):
        yield Cause(
            "You cannot sign in to the server as administrator, so its role could not be looked at.",
            "Run step 3: it makes the group of administrators one of the server's; then sign in again.",
            [f"backend.administrator: {problem}"],
        )
