"""Airflow: its components, the secrets between them, and its tasks."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.diagnosis.backend_fixes import create_tables, migrate_again
from airflowaks.diagnosis.facts.waiting import duration
from airflowaks.diagnosis.readers.airflow import API_SERVER
from airflowaks.diagnosis.rules import failed_tasks
from airflowaks.diagnosis.rules.parsing import IMPORT_TIMEOUT
from airflowaks.diagnosis.rules.rule import DOWNSTREAM, WARNING, Cause, Section, components_of, in_turn, restart
from airflowaks.steps import airflow, schemas, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import LogLine, Snapshot

_DOCS = "https://airflow.apache.org/docs/apache-airflow/stable/"
_SETTINGS = f"{_DOCS}configurations-ref.html"
_TASKS = ("AKA-905", "AKA-906", "AKA-92")
_JWT_SECRET = "AIRFLOW__API_AUTH__JWT_SECRET"  # noqa: S105 - a name
_PROBES = "https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/"
_TITLES = {"web": "Deployment airflow-web, which serves the web pages,"}
_BEATING = ("scheduler", "dag-processor", "triggerer")
# Each sends a heartbeat every five seconds, and Airflow itself calls it unhealthy after thirty.
_HANGS_SECONDS = 45.0
_FAILURES = 5
# As `airflow/_shared/configuration/parser.py` and `airflow/configuration.py` name a setting that they refuse.
_SETTING = re.compile(r"""check "(?P<key>\w+)" key in "(?P<section>\w+)" section|\[(\w+)\] '?(\w+)['`]""")
_REFUSED = (
    ("Failed to convert value",),
    ("Failed to parse value to a list",),
    ("Unable to parse [", "as valid json"),
    ("could not be loaded. Please check",),
    ("` should not be", "Possible values"),
)
_SIGNERS = ("airflow-api-server", "airflow-scheduler")
_OF_THE_SCHEMA = ("AKA-704", "AKA-708", "AKA-714", "AKA-004", *DOWNSTREAM)
_NOT_FAB = (("airflow", "invalid choice", "users"), ("fab_auth_manager", "ModuleNotFoundError"))
_NO_USERS = (("relation", "ab_user", "does not exist"),)
_REQUIRED = "Database migration required"
_REQUIRES = re.compile(r"using Airflow version (\d+\.\d+\.\d+)")
AIRFLOW = Section("log", "task")


@AIRFLOW.rule("AKA-721", effects=DOWNSTREAM, link=_SETTINGS)
def _setting_has_the_wrong_type(facts: Snapshot) -> Iterable[Cause]:
    lines: dict[str, list[LogLine]] = {}
    for line in AIRFLOW.lines(facts, *_REFUSED):
        if match := _SETTING.search(line.text):
            section, key = filter(None, (match["section"] or match[3], match["key"] or match[4]))
            lines.setdefault(f"AIRFLOW__{section}__{key}".upper(), []).append(line)
    for setting, named in lines.items():
        yield Cause(
            f"The setting {setting} has a value of the wrong type, or none that Airflow knows.",
            "Correct the value where it is set: in the environment file, the ConfigMap or the Deployment's variables."
            " Step 7 sets the manifests' values.",
            named,
            components_of(named),
        )


@AIRFLOW.rule("AKA-720", effects=("AKA-703", "AKA-705", "AKA-9", "AKA-003", "AKA-005"), link=_PROBES, automatic=True)
def _component_hangs(facts: Snapshot) -> Iterable[Cause]:
    """Name components whose pods run and do not work; a worker that hangs names no queue, which is AKA-706."""
    silent: dict[str, list[str]] = {}
    hosts, pods = facts.airflow.waiting.hosts, facts.kubernetes.pods
    for name in facts.airflow.silent:
        component = pods[name].component if name in pods else API_SERVER
        silent.setdefault(component, []).append(f"pod {name}: no answer to GET /api/v2/version")
    for name, pod in pods.items():
        if pod.component in _BEATING and pod.healthy and not pod.settling:
            seconds = hosts.get(pod.ip, 0.0)
            if seconds > _HANGS_SECONDS:
                line = f"pod {name}: running, and its last heartbeat was {duration(seconds)} ago"
                silent.setdefault(pod.component, []).append(line)
    for component, lines in silent.items():
        does = "runs and sends no heartbeat" if component in _BEATING else "accepts connections and does not answer"
        yield Cause(
            f"The {_TITLES.get(component, component)} hangs: it {does}.",
            f"Restart it. Otherwise the kubelet does, when its liveness probe has failed {_FAILURES} times.",
            lines,
            frozenset({component}),
            restart(facts, component),
        )


AIRFLOW.text_rules("AKA-716")


@AIRFLOW.rule("AKA-717", effects=_OF_THE_SCHEMA, link=f"{_DOCS}installation/upgrading.html")
def _schema_is_newer(facts: Snapshot) -> Iterable[Cause]:
    """Find images that are older than the schema, by Airflow's version in the tag; others by Alembic's words."""
    yield Cause(
        "The database's schema is newer than the image: a newer Airflow has migrated it.",
        "Run step 7 with the image that migrated it, or a newer one; or restore the server to a time before that.",
        [
            *_schemas(facts, newer=True),
            *AIRFLOW.lines(facts, ("Can't locate revision identified by",), sources=("log", "container")),
        ],
    )


@AIRFLOW.rule("AKA-718", effects=_OF_THE_SCHEMA, link=f"{_DOCS}installation/upgrading.html", automatic=True)
def _schema_is_older(facts: Snapshot) -> Iterable[Cause]:
    yield Cause(
        "The database's schema is older than the image: it was not migrated, or restored from before.",
        "Delete the Job airflow-migration, then run step 7, which migrates the database.",
        _schemas(facts, newer=False),
        remedy=partial(migrate_again, facts.backend.database.schema),
    )


def _schemas(facts: Snapshot, *, newer: bool) -> list[str]:
    """Return evidence for the images whose schema is not the database's.

    A component ends when it finds another schema, and names its version (`check_and_run_migrations` in
    `airflow/utils/db.py`): that is all there is of an image by its digest.
    """
    schema = facts.backend.database.schema
    pods = [pod for pod in facts.kubernetes.pods.values() if pod.component and pod.phase != "Succeeded"]
    lines = AIRFLOW.lines(facts, (_REQUIRED,), sources=("log", "container"))
    versions = [f"airflow:{match[1]}" for line in lines if (match := _REQUIRES.search(line.text))]
    names = [*(pod.image for pod in pods), *versions]
    images = {name: expected for name in names if (expected := schemas.expected(name, schema))}
    return [
        f"the database has {schemas.described(schema)}, the image {image} {schemas.described(expected)}"
        for image, expected in images.items()
        if schemas.is_newer(schema, expected) is newer
    ]


@AIRFLOW.rule(
    "AKA-708",
    effects=DOWNSTREAM,
    link="https://airflow.apache.org/docs/apache-airflow-providers-fab/stable/",
    remedy=airflow.configuration,
)
def _auth_manager_is_not_fab(facts: Snapshot) -> Iterable[Cause]:
    """In a database without tables FAB's are missing as all others are, which is AKA-704."""
    lines = AIRFLOW.lines(facts, *_NOT_FAB, *(() if facts.backend.database.empty else _NO_USERS))
    yield Cause(
        "The auth manager is not FAB, or the migration did not create FAB's tables.",
        "Run step 7, which sets the FAB auth manager for all components and the migration.",
        lines,
        components_of(lines),
    )


@AIRFLOW.rule(
    "AKA-714",
    effects=("AKA-704", "AKA-9", "AKA-003"),
    link=f"{_DOCS}howto/set-up-database.html",
    remedy=airflow.components,
)
def _migration_failed(facts: Snapshot) -> Iterable[Cause]:
    for name, job in facts.kubernetes.jobs.items():
        if job.failed:
            yield Cause(
                f"The Job {name} failed.",
                "Fix the cause that its pod's log names, then run step 7, which creates the Job again.",
                [f"job {name}: {job.failed}"],
                frozenset(filter(None, [job.component])),
            )


@AIRFLOW.rule(
    "AKA-704",
    effects=("AKA-705", "AKA-9", "AKA-003", "AKA-004"),
    link=f"{_DOCS}howto/set-up-database.html",
    automatic=True,
)
def _database_is_not_migrated(facts: Snapshot) -> Iterable[Cause]:
    database, pods = facts.backend.database, facts.kubernetes.pods.values()
    serving = sorted({pod.component for pod in pods}.intersection((API_SERVER, *_TITLES)))
    lines = AIRFLOW.lines(facts, ("unapplied migrations",), (_REQUIRED,), ('relation "', "does not exist"))
    if database.migrated:
        yield Cause(
            "The database is not migrated to this version of Airflow.",
            "Run step 7, which migrates it first. If the migration failed, read the log of its pod.",
            lines,
        )
    elif database.empty:
        yield Cause(
            "The database has no table of Airflow: it was never migrated, or somebody has emptied it.",
            "Delete the Job airflow-migration, then run step 7, which creates the tables. What was in them is only in"
            " the server's backups.",
            ["the database has no tables", *lines],
            # Other components end when they miss a table, and start again; these go on, and what they logged stays.
            remedy=in_turn(create_tables, restart(facts, *serving)),
        )
    else:
        yield Cause(
            "The database has tables of Airflow, and no table alembic_version to tell their version.",
            "Restore alembic_version from a backup. Do not migrate without it: `airflow db migrate` would take the"
            " tables for its own version's, and change none of them.",
            ["the database has no table alembic_version", *lines],
        )


AIRFLOW.text_rules("AKA-705")


AIRFLOW.text_rules("AKA-702", remedy=in_turn(workload_identity.service_accounts, airflow.components))


# AKA-701 is an effect: a log server rejects an invalid token with the same message as the api-server.
AIRFLOW.text_rules("AKA-707", remedy=airflow.components)


@AIRFLOW.rule("AKA-701", effects=("AKA-703", *_TASKS), link=_SETTINGS, remedy=airflow.components)
def _tokens_do_not_verify(facts: Snapshot) -> Iterable[Cause]:
    lines = AIRFLOW.lines(facts, ("Signature verification failed",), ("InvalidSignatureError",))
    checksums = {facts.kubernetes.secrets.get(name, {}).get(_JWT_SECRET) for name in _SIGNERS} - {None}
    yield Cause(
        "The api-server rejects the scheduler's tokens: their JWT secrets differ, so every task fails.",
        f"Run step 7, which restarts both with the vault's {_JWT_SECRET}.",
        [*([f"{_JWT_SECRET} differs in {' and '.join(_SIGNERS)}"] if len(checksums) > 1 else []), *lines],
    )


@AIRFLOW.rule("AKA-703", effects=_TASKS, link=_SETTINGS, automatic=True)
def _tasks_cannot_reach_the_api_server(facts: Snapshot) -> Iterable[Cause]:
    lines = AIRFLOW.lines(
        facts, ("ConnectError",), ("httpx", "Connection refused"), ("Max retries exceeded", "/execution")
    )
    yield Cause(
        "Tasks cannot reach the api-server.",
        "Check that the api-server is ready, that AIRFLOW__CORE__EXECUTION_API_SERVER_URL names its Service, and that"
        " no NetworkPolicy blocks the connection; then run step 7.",
        lines,
        components_of(lines),
        in_turn(airflow.configuration, restart(facts, *sorted(facts.kubernetes.workers))),
    )


@AIRFLOW.rule("AKA-706", effects=_TASKS, link="https://github.com/apache/airflow/issues/63580", automatic=True)
def _worker_consumes_nothing(facts: Snapshot) -> Iterable[Cause]:
    if idle := [name for name, queues in facts.airflow.queues.items() if not queues]:
        yield Cause(
            "A worker is running but consumes no queue: it hangs, or lost its connection to the broker.",
            f"Restart the worker, or delete the pod {idle[0]}. Otherwise the probe restarts it within ten minutes.",
            [f"pod {name}: active_queues is empty" for name in idle],
            remedy=restart(facts, *sorted(facts.kubernetes.workers)),
        )


@AIRFLOW.rule("AKA-711", WARNING, effects=("AKA-726",), link=f"{_DOCS}core-concepts/dags.html")
def _file_cannot_be_imported(facts: Snapshot) -> Iterable[Cause]:
    # AKA-731 is about files that take too long.
    if errors := {file: text for file, text in facts.airflow.import_errors.items() if IMPORT_TIMEOUT not in text}:
        yield Cause(
            f"{len(errors)} DAG file{'s' if len(errors) > 1 else ''} cannot be imported.",
            "Correct the file and run step 6, which copies it to the share.",
            [f"{file}: {error}" for file, error in errors.items()],
        )


AIRFLOW.text_rules("AKA-715")


failed_tasks.rules_of(
    AIRFLOW, "AKA-726", "AKA-722", "AKA-723", "AKA-724", "AKA-725", link=f"{_DOCS}troubleshooting.html"
)
