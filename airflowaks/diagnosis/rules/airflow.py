"""Airflow itself: its components, its secrets towards each other, its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis import kubectl
from airflowaks.diagnosis.rules.rule import CRITICAL, DOWNSTREAM, WARNING, Cause, Section, in_turn, lines, log_lines
from airflowaks.steps import airflow, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.engine.changes import Changes
    from airflowaks.session import Session

AIRFLOW = Section()
_SAID = ("log", "task")
_DOCS = "https://airflow.apache.org/docs/apache-airflow/stable/"
_SETTINGS = f"{_DOCS}configurations-ref.html"
_TASKS = ("AKA-905", "AKA-906")
_JWT_SECRET = "AIRFLOW__API_AUTH__JWT_SECRET"  # noqa: S105 - a name
_SIGNERS = ("airflow-api-server", "airflow-scheduler")


def _new_workers(session: Session) -> Changes:
    return kubectl.restart(session, "worker")


AIRFLOW.said(
    "AKA-716",
    CRITICAL,
    ("cannot import name 'retry' from 'celery.backends.database'",),
    sources=_SAID,
    cause="The image has a celery that the Celery provider does not work with.",
    fix="Use the official image, or bound celery below 5.7 in your own; then run steps 2 and 7.",
    effects=DOWNSTREAM,
    link="https://airflow.apache.org/docs/apache-airflow-providers-celery/stable/",
)


AIRFLOW.said(
    "AKA-708",
    CRITICAL,
    ("airflow", "invalid choice", "users"),
    ("fab_auth_manager", "ModuleNotFoundError"),
    ("relation", "ab_user", "does not exist"),
    sources=_SAID,
    cause="The auth manager is not FAB, or its tables were never made.",
    fix="Run step 7: its configuration names the FAB auth manager for the migration too.",
    effects=DOWNSTREAM,
    link="https://airflow.apache.org/docs/apache-airflow-providers-fab/stable/",
    remedy=airflow.configuration,
)


@AIRFLOW.rule(
    "AKA-714",
    CRITICAL,
    effects=("AKA-704", "AKA-9", "AKA-003"),
    link=f"{_DOCS}howto/set-up-database.html",
    remedy=airflow.components,
)
def migration_failed(facts: Snapshot) -> Iterable[Cause]:
    """Tell of jobs that failed: the migration is one."""
    for name, one in facts.kubernetes.jobs.items():
        if one.failed:
            yield Cause(
                f"The job {name} failed.",
                "See its pod's log; once the cause is gone run step 7, which makes the job anew.",
                [f"job {name}: {one.failed}"],
                frozenset(filter(None, [one.component])),
            )


@AIRFLOW.rule("AKA-704", CRITICAL, effects=("AKA-705", "AKA-9", "AKA-003"), link=f"{_DOCS}howto/set-up-database.html")
def database_is_not_migrated(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the tables are not those of this Airflow."""
    said = log_lines(facts, ("unapplied migrations",), ('relation "', "does not exist"), sources=_SAID)
    seen = [] if facts.backend.database.migrated else ["the database has no alembic_version"]
    if seen or said:
        yield Cause(
            "The database is not migrated to this version of Airflow.",
            "Run step 7: its first part is the migration; if that failed, its pod's log says why.",
            [*seen, *lines(said)],
        )


AIRFLOW.said(
    "AKA-705",
    WARNING,
    ("No alive jobs found",),
    sources=("log", "event", "container"),
    cause="A component's heartbeat is not found, so that its probe fails.",
    fix="Compare the host names in the table `job` with the pods', and give the component more CPU.",
    effects=("AKA-9",),
    link=f"{_DOCS}administration-and-deployment/logging-monitoring/check-health.html",
)


AIRFLOW.said(
    "AKA-702",
    CRITICAL,
    ("jwt_secret", "was empty"),
    sources=_SAID,
    cause="A component was given no JWT secret and made up its own.",
    fix="Run steps 5 and 7: the classes bring the secret to api-server and scheduler.",
    effects=("AKA-701", *DOWNSTREAM),
    link=_SETTINGS,
    remedy=in_turn(workload_identity.service_accounts, airflow.components),
)


# Who refuses to hand a log out says of the token for it what the api-server says of a task's.
AIRFLOW.said(
    "AKA-707",
    WARNING,
    ("same 'secret_key' configured",),
    sources=_SAID,
    cause="The logs of running tasks cannot be fetched: components have different API secret keys, or clocks.",
    fix="Run step 7: it rolls the pods with the vault's key.",
    effects=("AKA-701", *_TASKS),
    link=_SETTINGS,
    remedy=airflow.components,
)


@AIRFLOW.rule("AKA-701", CRITICAL, effects=("AKA-703", *_TASKS), link=_SETTINGS, remedy=airflow.components)
def tokens_do_not_verify(facts: Snapshot) -> Iterable[Cause]:
    """Tell that api-server and scheduler have different JWT secrets."""
    said = log_lines(facts, ("Signature verification failed",), ("InvalidSignatureError",), sources=_SAID)
    held = {name: facts.kubernetes.secrets.get(name, {}).get(_JWT_SECRET) for name in _SIGNERS}
    seen = [] if len(set(filter(None, held.values()))) <= 1 else [f"{_JWT_SECRET} differs in {' and '.join(held)}"]
    if seen or said:
        yield Cause(
            "The api-server does not accept the scheduler's tokens: their JWT secrets differ, so every task fails.",
            "Run step 7: it rolls both with the vault's secret.",
            [*seen, *lines(said)],
        )


AIRFLOW.said(
    "AKA-703",
    CRITICAL,
    ("ConnectError",),
    ("httpx", "Connection refused"),
    ("Max retries exceeded", "/execution"),
    sources=_SAID,
    cause="Tasks cannot reach the api-server.",
    fix="See whether the api-server is ready, whether AIRFLOW__CORE__EXECUTION_API_SERVER_URL names its service, and"
    " whether a NetworkPolicy is in between; then run step 7.",
    effects=_TASKS,
    link=_SETTINGS,
    remedy=in_turn(airflow.configuration, _new_workers),
)


@AIRFLOW.rule(
    "AKA-706",
    CRITICAL,
    effects=_TASKS,
    link="https://github.com/apache/airflow/issues/63580",
    remedy=_new_workers,
)
def worker_consumes_nothing(facts: Snapshot) -> Iterable[Cause]:
    """Tell of workers that run and take no tasks."""
    idle = [name for name, queues in facts.airflow.queues.items() if not queues]
    if idle:
        yield Cause(
            "A worker runs and consumes no queue: it lost its connection to the broker.",
            f"Restart the worker, or delete the pod {idle[0]}: the one in its place connects anew. The probe does it"
            " within ten minutes.",
            [f"pod {name}: active_queues is empty" for name in idle],
        )


AIRFLOW.said(
    "AKA-709",
    WARNING,
    ("Moved in Airflow 3", "monitor/health"),
    sources=("log", "event", "container", "reading"),
    cause="A probe asks for /health, which Airflow 3 has moved.",
    fix="Run step 7: its probes ask for what Airflow 3 has; correct other probes to /api/v2/monitor/health.",
    effects=("AKA-9",),
    link=f"{_DOCS}administration-and-deployment/logging-monitoring/check-health.html",
    remedy=airflow.components,
)


@AIRFLOW.rule("AKA-711", WARNING, link=f"{_DOCS}core-concepts/dags.html")
def file_cannot_be_imported(facts: Snapshot) -> Iterable[Cause]:
    """Tell of DAG files that Airflow cannot read."""
    if errors := facts.airflow.import_errors:
        yield Cause(
            f"{len(errors)} DAG file{'s' if len(errors) > 1 else ''} cannot be imported.",
            "Correct the file and run step 6, which puts it on the share.",
            [f"{file}: {error}" for file, error in errors.items()],
        )


AIRFLOW.said(
    "AKA-715",
    CRITICAL,
    ("cryptography.fernet.InvalidToken",),
    ("Can't decrypt",),
    ("Could not create Fernet object",),
    sources=_SAID,
    cause="Connections and variables cannot be decrypted: the Fernet key is not the one that they were encrypted with.",
    fix="Bring the old key back as the last of airflow-fernet-key (`az keyvault secret list-versions` has it).",
    effects=("AKA-906",),
    link=f"{_DOCS}security/secrets/fernet.html",
)
