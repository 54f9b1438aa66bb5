"""The parameters of a flexible server, and their allowed values on Azure.

Source: https://learn.microsoft.com/azure/postgresql/server-parameters/concepts-server-parameters
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document


@dataclass(frozen=True)
class Parameter:
    """A server parameter. `allowed` is a list of values, a range `least-most`, or a regular expression, by `kind`.

    `engine` is true for PostgreSQL's parameters, false for Azure's.
    """

    name: str
    kind: str
    default: str
    allowed: str
    description: str
    dynamic: bool = True
    read_only: bool = False
    engine: bool = True

    def accepts(self, value: str) -> bool:
        """Tell whether the value is allowed."""
        if self.kind in ("Boolean", "Enumeration"):
            return value.lower() in self.allowed.lower().split(",")
        if self.kind in ("Integer", "Numeric"):
            least, most = (float(bound) for bound in re.fullmatch(r"(-?[\d.]+)-([\d.]+)", self.allowed).groups())  # type: ignore[union-attr]  # every range in the table has this form
            return bool(re.fullmatch(r"-?\d+(\.\d+)?", value)) and least <= float(value) <= most
        if self.kind == "Set":
            choices = self.allowed.lower().split(",")
            return all(choice.strip().lower() in choices for choice in value.split(",") if choice.strip())
        return bool(re.fullmatch(self.allowed, value))


_EXTENSIONS = (
    "address_standardizer,azure_ai,azure_storage,bloom,btree_gin,btree_gist,citext,cube,dblink,dict_int,earthdistance,"
    "fuzzystrmatch,hstore,hypopg,intarray,isn,lo,login_hook,ltree,pageinspect,pg_buffercache,pg_cron,pg_freespacemap,"
    "pg_partman,pg_prewarm,pg_repack,pg_stat_statements,pg_trgm,pg_visibility,pgaudit,pgcrypto,pglogical,pgrowlocks,"
    "pgstattuple,plpgsql,postgis,postgres_fdw,semver,sslinfo,tablefunc,timescaledb,tsm_system_rows,unaccent,uuid-ossp,"
    "vector"
)
_MINUTES = "in milliseconds; 0 turns it off"

PARAMETERS = (
    Parameter("azure.extensions", "Set", "", _EXTENSIONS, "Extensions that may be created."),
    Parameter(
        "require_secure_transport",
        "Boolean",
        "on",
        "on,off",
        "Whether clients must use TLS; the rehearsal always requires it.",
        engine=False,
    ),
    Parameter("pgbouncer.enabled", "Boolean", "false", "true,false", "The built-in PgBouncer.", engine=False),
    Parameter("max_connections", "Integer", "100", "25-5000", "The most connections at a time.", dynamic=False),
    Parameter(
        "max_prepared_transactions", "Integer", "0", "0-262143", "The most prepared transactions.", dynamic=False
    ),
    Parameter("ssl", "Boolean", "on", "on,off", "TLS connections.", read_only=True),
    Parameter("autovacuum", "Boolean", "on", "on,off", "Starts the autovacuum subprocess."),
    Parameter("autovacuum_naptime", "Integer", "60", "1-2147483", "Time between autovacuum runs, in seconds."),
    Parameter("backslash_quote", "Enumeration", "safe_encoding", "on,off,safe_encoding", "Whether \\' is allowed."),
    Parameter(
        "client_min_messages", "Enumeration", "notice", "debug,log,notice,warning,error", "Levels sent to clients."
    ),
    Parameter(
        "constraint_exclusion", "Enumeration", "partition", "on,off,partition", "Use of constraints by the planner."
    ),
    Parameter("deadlock_timeout", "Integer", "1000", "1-2147483647", "Wait before a deadlock check, in milliseconds."),
    Parameter(
        "default_transaction_isolation",
        "Enumeration",
        "read committed",
        "serializable,repeatable read,read committed,read uncommitted",
        "The isolation level of new transactions.",
    ),
    Parameter("default_transaction_read_only", "Boolean", "off", "on,off", "Whether new transactions only read."),
    Parameter("effective_cache_size", "Integer", "524288", "1-2147483647", "The planner's idea of caches, in 8 kB."),
    Parameter(
        "idle_in_transaction_session_timeout",
        "Integer",
        "0",
        "0-2147483647",
        f"Longest idle time within a transaction, {_MINUTES}.",
    ),
    Parameter("idle_session_timeout", "Integer", "0", "0-2147483647", f"Longest idle time of a session, {_MINUTES}."),
    Parameter("lock_timeout", "Integer", "0", "0-2147483647", f"Longest wait for a lock, {_MINUTES}."),
    Parameter("log_connections", "Boolean", "on", "on,off", "Logs each connection."),
    Parameter("log_disconnections", "Boolean", "on", "on,off", "Logs the end of each session."),
    Parameter("log_min_duration_statement", "Integer", "-1", "-1-2147483647", "Logs slow statements, in milliseconds."),
    Parameter("log_statement", "Enumeration", "none", "none,ddl,mod,all", "Kinds of statements that are logged."),
    Parameter("maintenance_work_mem", "Integer", "65536", "1024-2097151", "Memory of maintenance, in kB."),
    Parameter("random_page_cost", "Numeric", "2", "0-1000", "The planner's cost of a page fetched at random."),
    Parameter("row_security", "Boolean", "on", "on,off", "Row security."),
    Parameter("search_path", "String", '"$user", public', r"[^;]*", "Where unqualified names are looked up."),
    Parameter("statement_timeout", "Integer", "0", "0-2147483647", f"Longest statement, {_MINUTES}."),
    Parameter("TimeZone", "String", "UTC", r"[A-Za-z0-9/+-_]+", "Time zone of timestamps shown and read."),
    Parameter("work_mem", "Integer", "4096", "4096-2097151", "Memory of a sort or hash, in kB."),
)


def find_parameter(name: str) -> Parameter | None:
    """Return the parameter with this name, case-insensitively."""
    return next((candidate for candidate in PARAMETERS if candidate.name.lower() == name.lower()), None)


def parameter_document(
    server: Document, parameter: Parameter, value: str | None = None, source: str | None = None
) -> Document:
    """Return the resource of a server's parameter, with its default if it has no value."""
    chosen = parameter.default if value is None else value
    return {
        "id": f"{server['id']}/configurations/{parameter.name}",
        "name": parameter.name,
        "type": "Microsoft.DBforPostgreSQL/flexibleServers/configurations",
        "properties": {
            "value": chosen,
            "description": parameter.description,
            "defaultValue": parameter.default,
            "dataType": parameter.kind,
            "allowedValues": parameter.allowed,
            "source": source or "system-default",
            "isDynamicConfig": parameter.dynamic,
            "isReadOnly": parameter.read_only,
            "isConfigPendingRestart": False,
        },
        "_state": "Succeeded",
    }
