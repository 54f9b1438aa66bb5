"""Airflow: its components, the secrets between them, and its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis import kubectl
from airflowaks.diagnosis.rules.rule import DOWNSTREAM, WARNING, Cause, Section, in_turn
from airflowaks.steps import airflow, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.engine.changes import Changes
    from airflowaks.session import Session

_DOCS = "https://airflow.apache.org/docs/apache-airflow/stable/"
_SETTINGS = f"{_DOCS}configurations-ref.html"
_TASKS = ("AKA-905", "AKA-906")
_JWT_SECRET = "AIRFLOW__API_AUTH__JWT_SECRET"  # noqa: S105 - a name
_SIGNERS = ("airflow-api-server", "airflow-scheduler")
AIRFLOW = Section("log", "task")


def _restart_workers(session: Session) -> Changes:
    return kubectl.restart(session, "worker")


AIRFLOW.text_rule(
    "AKA-716",
    ("cannot import name 'retry' from 'celery.backends.database'",),
    cause="The image has a version of celery that the Celery provider does not support.",
    fix="Use the official image, or pin celery below 5.7 in your image; then run steps 2 and 7.",
    effects=DOWNSTREAM,
    link="https://airflow.apache.org/docs/apache-airflow-providers-celery/stable/",
)


AIRFLOW.text_rule(
    "AKA-708",
    ("airflow", "invalid choice", "users"),
    ("fab_auth_manager", "ModuleNotFoundError"),
    ("relation", "ab_user", "does not exist"),
    cause="The auth manager is not FAB, or the migration did not create FAB's tables.",
    fix="Run step 7, which sets the FAB auth manager for all components and the migration.",
    effects=DOWNSTREAM,
    link="https://airflow.apache.org/docs/apache-airflow-providers-fab/stable/",
    remedy=airflow.configuration,
)


@AIRFLOW.rule(
    "AKA-714",
    effects=("AKA-704", "AKA-9", "AKA-003"),
    link=f"{_DOCS}howto/set-up-database.html",
    remedy=airflow.components,
)
def migration_failed(facts: Snapshot) -> Iterable[Cause]:
    """Find failed Jobs, such as the migration."""
    for name, job in facts.kubernetes.jobs.items():
        if job.failed:
            yield Cause(
                f"The Job {name} failed.",
                "Fix the cause that its pod's log names, then run step 7, which creates the Job again.",
                [f"job {name}: {job.failed}"],
                frozenset(filter(None, [job.component])),
            )


@AIRFLOW.rule("AKA-704", effects=("AKA-705", "AKA-9", "AKA-003"), link=f"{_DOCS}howto/set-up-database.html")
def database_is_not_migrated(facts: Snapshot) -> Iterable[Cause]:
    """Find a database whose schema does not match this version of Airflow."""
    lines = AIRFLOW.lines(facts, ("unapplied migrations",), ('relation "', "does not exist"))
    yield Cause(
        "The database is not migrated to this version of Airflow.",
        "Run step 7, which migrates it first. If the migration failed, read the log of its pod.",
        [*([] if facts.backend.database.migrated else ["the database has no table alembic_version"]), *lines],
    )


AIRFLOW.text_rule(
    "AKA-705",
    ("No alive jobs found",),
    sources=("log", "event", "container"),
    severity=WARNING,
    cause="The probe of a component fails because it finds no heartbeat.",
    fix="Compare the host names in the table `job` with the pods' names, and give the component more CPU.",
    effects=("AKA-9",),
    link=f"{_DOCS}administration-and-deployment/logging-monitoring/check-health.html",
)


AIRFLOW.text_rule(
    "AKA-702",
    ("jwt_secret", "was empty"),
    cause="A component has no JWT secret and generated its own.",
    fix="Run steps 5 and 7, which sync the vault's secret to api-server and scheduler.",
    effects=("AKA-701", *DOWNSTREAM),
    link=_SETTINGS,
    remedy=in_turn(workload_identity.service_accounts, airflow.components),
)


# AKA-701 is an effect: a log server rejects an invalid token with the same message as the api-server.
AIRFLOW.text_rule(
    "AKA-707",
    ("same 'secret_key' configured",),
    severity=WARNING,
    cause="The api-server cannot fetch the logs of running tasks: API secret keys or clocks of components differ.",
    fix="Run step 7, which restarts the pods with the vault's key.",
    effects=("AKA-701", *_TASKS),
    link=_SETTINGS,
    remedy=airflow.components,
)


@AIRFLOW.rule("AKA-701", effects=("AKA-703", *_TASKS), link=_SETTINGS, remedy=airflow.components)
def tokens_do_not_verify(facts: Snapshot) -> Iterable[Cause]:
    """Find different JWT secrets in api-server and scheduler."""
    lines = AIRFLOW.lines(facts, ("Signature verification failed",), ("InvalidSignatureError",))
    checksums = {facts.kubernetes.secrets.get(name, {}).get(_JWT_SECRET) for name in _SIGNERS} - {None}
    yield Cause(
        "The api-server rejects the scheduler's tokens: their JWT secrets differ, so every task fails.",
        "Run step 7, which restarts both with the vault's secret.",
        [*([f"{_JWT_SECRET} differs in {' and '.join(_SIGNERS)}"] if len(checksums) > 1 else []), *lines],
    )


AIRFLOW.text_rule(
    "AKA-703",
    ("ConnectError",),
    ("httpx", "Connection refused"),
    ("Max retries exceeded", "/execution"),
    cause="Tasks cannot reach the api-server.",
    fix="Check that the api-server is ready, that AIRFLOW__CORE__EXECUTION_API_SERVER_URL names its Service, and that"
    " no NetworkPolicy blocks the connection; then run step 7.",
    effects=_TASKS,
    link=_SETTINGS,
    remedy=in_turn(airflow.configuration, _restart_workers),
)


@AIRFLOW.rule("AKA-706", effects=_TASKS, link="https://github.com/apache/airflow/issues/63580", remedy=_restart_workers)
def worker_consumes_nothing(facts: Snapshot) -> Iterable[Cause]:
    """Find workers that run but consume no queue."""
    if idle := [name for name, queues in facts.airflow.queues.items() if not queues]:
        yield Cause(
            "A worker is running but consumes no queue: it lost its connection to the broker.",
            f"Restart the worker, or delete the pod {idle[0]}. Otherwise the probe restarts it within ten minutes.",
            [f"pod {name}: active_queues is empty" for name in idle],
        )


AIRFLOW.text_rule(
    "AKA-709",
    ("Moved in Airflow 3", "monitor/health"),
    sources=("log", "event", "container", "reading"),
    severity=WARNING,
    cause="A probe requests /health, which Airflow 3 has moved.",
    fix="Run step 7, which sets Airflow 3's path. Change your own probes to /api/v2/monitor/health.",
    effects=("AKA-9",),
    link=f"{_DOCS}administration-and-deployment/logging-monitoring/check-health.html",
    remedy=airflow.components,
)


@AIRFLOW.rule("AKA-711", WARNING, link=f"{_DOCS}core-concepts/dags.html")
def file_cannot_be_imported(facts: Snapshot) -> Iterable[Cause]:
    """Find DAG files that Airflow cannot import."""
    if errors := facts.airflow.import_errors:
        yield Cause(
            f"{len(errors)} DAG file{'s' if len(errors) > 1 else ''} cannot be imported.",
            "Correct the file and run step 6, which copies it to the share.",
            [f"{file}: {error}" for file, error in errors.items()],
        )


AIRFLOW.text_rule(
    "AKA-715",
    ("cryptography.fernet.InvalidToken",),
    ("Can't decrypt",),
    ("Could not create Fernet object",),
    cause="Airflow cannot decrypt connections and variables: they were encrypted with a different Fernet key.",
    fix="Append the old key to the list in airflow-fernet-key; `az keyvault secret list-versions` shows old versions.",
    effects=("AKA-906",),
    link=f"{_DOCS}security/secrets/fernet.html",
)
