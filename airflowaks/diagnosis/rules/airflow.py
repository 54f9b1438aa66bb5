"""Airflow: its components, the secrets between them, and its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis import kubectl
from airflowaks.diagnosis.rules import schemas
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


AIRFLOW.text_rules("AKA-716")


@AIRFLOW.rule(
    "AKA-717",
    effects=("AKA-704", "AKA-708", "AKA-714", *DOWNSTREAM),
    link=f"{_DOCS}installation/upgrading.html",
)
def _schema_is_of_another_version(facts: Snapshot) -> Iterable[Cause]:
    """Find images whose schema is not the database's, by Airflow's version in the tag; others by Alembic's words."""
    schema = facts.backend.database.schema
    pods = [pod for pod in facts.kubernetes.pods.values() if pod.component and pod.phase != "Succeeded"]
    odd = {pod.image: expected for pod in pods if (expected := schemas.expected(pod.image, schema))}
    lines = AIRFLOW.lines(facts, ("Can't locate revision identified by",), sources=("log", "container"))
    newer = bool(lines) or any(schemas.is_newer(schema, expected) for expected in odd.values())
    yield Cause(
        "The database's schema is newer than the image: it was migrated by a newer Airflow."
        if newer
        else "The database's schema is older than the image: it was not migrated, or restored from before.",
        "Run step 7 with the image that migrated it, or a newer one; or restore the server to a time before that."
        if newer
        else "Delete the Job airflow-migration and run step 7, which migrates the database.",
        [
            *(
                f"the database has {schemas.described(schema)}, the image {image} {schemas.described(expected)}"
                for image, expected in odd.items()
            ),
            *lines,
        ],
    )


AIRFLOW.text_rules("AKA-708", remedy=airflow.configuration)


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


@AIRFLOW.rule("AKA-704", effects=("AKA-705", "AKA-9", "AKA-003"), link=f"{_DOCS}howto/set-up-database.html")
def _database_is_not_migrated(facts: Snapshot) -> Iterable[Cause]:
    lines = AIRFLOW.lines(facts, ("unapplied migrations",), ('relation "', "does not exist"))
    yield Cause(
        "The database is not migrated to this version of Airflow.",
        "Run step 7, which migrates it first. If the migration failed, read the log of its pod.",
        [*([] if facts.backend.database.migrated else ["the database has no table alembic_version"]), *lines],
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
        "Run step 7, which restarts both with the vault's secret.",
        [*([f"{_JWT_SECRET} differs in {' and '.join(_SIGNERS)}"] if len(checksums) > 1 else []), *lines],
    )


AIRFLOW.text_rules("AKA-703", remedy=in_turn(airflow.configuration, _restart_workers))


@AIRFLOW.rule("AKA-706", effects=_TASKS, link="https://github.com/apache/airflow/issues/63580", remedy=_restart_workers)
def _worker_consumes_nothing(facts: Snapshot) -> Iterable[Cause]:
    if idle := [name for name, queues in facts.airflow.queues.items() if not queues]:
        yield Cause(
            "A worker is running but consumes no queue: it lost its connection to the broker.",
            f"Restart the worker, or delete the pod {idle[0]}. Otherwise the probe restarts it within ten minutes.",
            [f"pod {name}: active_queues is empty" for name in idle],
        )


AIRFLOW.text_rules("AKA-709", remedy=airflow.components)


@AIRFLOW.rule("AKA-711", WARNING, link=f"{_DOCS}core-concepts/dags.html")
def _file_cannot_be_imported(facts: Snapshot) -> Iterable[Cause]:
    if errors := facts.airflow.import_errors:
        yield Cause(
            f"{len(errors)} DAG file{'s' if len(errors) > 1 else ''} cannot be imported.",
            "Correct the file and run step 6, which copies it to the share.",
            [f"{file}: {error}" for file, error in errors.items()],
        )


AIRFLOW.text_rules("AKA-715")
