"""The collector of facts: it reads all parts of all sources in parallel, whether or not some of them fail."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflowaks.cloud.connection import Connection
from airflowaks.diagnosis.facts.kubernetes import Kubernetes
from airflowaks.diagnosis.facts.services import Airflow, Azure, Backend
from airflowaks.diagnosis.facts.snapshot import Reading, Snapshot
from airflowaks.diagnosis.readers import airflow, azure, backend, failed, kubernetes, parsing, surroundings, waiting
from airflowaks.diagnosis.readers.pods import with_logs
from airflowaks.engine.times import timestamp
from airflowaks.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.diagnosis.readers.scope import Scope

_SOURCES: dict[str, Any] = {"azure": Azure, "kubernetes": Kubernetes, "airflow": Airflow, "backend": Backend}
_PARTS: dict[str, Any] = {
    "azure.resources": azure.resources,
    "azure.operations": azure.operations,
    "azure.quotas": azure.quotas,
    "azure.clock": azure.clock,
    "kubernetes.pods": kubernetes.workloads,
    "kubernetes.objects": kubernetes.objects,
    "kubernetes.secrets": kubernetes.secrets,
    "kubernetes.surroundings": surroundings.surroundings,
    "airflow.api": airflow.api,
    "airflow.queues": airflow.queues,
    "airflow.waiting": waiting.waiting,
    "airflow.failed": failed.failed,
    "airflow.parsing": parsing.parsing,
    "backend.database": backend.database,
    "backend.celery": backend.celery,
    "backend.administrator": backend.administrator,
    "backend.broker": backend.broker,
}
_LOGS = "kubernetes.logs"
_RETRIES, _CONNECT_SECONDS = 2, 10
_LONG_QUEUED_SECONDS = 60.0
# Components whose logs may tell why tasks fail while all pods are ready.
_SUSPECTS = ("api-server", "scheduler", "triggerer")


class _ShortTimeouts(Connection):
    """A connection with few retries and short timeouts, so that a diagnosis reports a silent service within seconds."""

    limits: ClassVar[dict[str, Any]] = {"retry_total": _RETRIES, "connection_timeout": _CONNECT_SECONDS}


def collect(session: Session, scope: Scope) -> Snapshot:
    """Return all facts, read in a new session that writes nothing, with every learned secret masked."""
    # Only the fields: vars() also holds the properties that a connection has cached.
    values_of_fields = {field.name: getattr(session.connection, field.name) for field in fields(Connection)}
    connection = _ShortTimeouts(**values_of_fields)
    reader = Session(session.environment, "plan", connection, redactor=session.redactor)
    with closing(reader), ThreadPoolExecutor(len(_PARTS)) as pool:
        read = dict(zip(_PARTS, pool.map(lambda name: _read(reader, scope, name, _PARTS[name]), _PARTS), strict=True))
    values_of: dict[str, dict[str, Any]] = {source: {} for source in _SOURCES}
    for name, (values, _) in read.items():
        values_of[name.partition(".")[0]] |= values
    sources: dict[str, Any] = {source: make(**values_of[source]) for source, make in _SOURCES.items()}
    facts = Snapshot(**sources, readings={name: reading for name, (_, reading) in read.items()})
    values, reading = _read(reader, scope, _LOGS, lambda session, scope: _logs(session, scope, facts))
    facts = replace(facts, kubernetes=replace(facts.kubernetes, **values), readings={**facts.readings, _LOGS: reading})
    masked: Snapshot = session.redactor.redact_all(facts)
    return masked


def _read(
    session: Session, scope: Scope, name: str, part: Callable[[Session, Scope], dict[str, Any]]
) -> tuple[dict[str, Any], Reading]:
    at, started = timestamp(), time.monotonic()
    values: dict[str, Any] = {}
    problem = ""
    try:
        values = part(session, scope)
    except Exception as error:  # noqa: BLE001 - any failure of a source is a fact of the diagnosis
        problem = session.translate(error, name).message.removeprefix(f"{name}: ")
    return values, Reading(at, round(time.monotonic() - started, 2), problem)


def _logs(session: Session, scope: Scope, facts: Snapshot) -> dict[str, Any]:
    """Return the pods, with the logs of unhealthy ones, of who signs people in, and of whom failed tasks suspect."""
    if not facts.kubernetes.pods:
        return {}
    unread = facts.unread("airflow.api")
    troubled = unread or facts.airflow.failed or facts.airflow.queued_seconds > _LONG_QUEUED_SECONDS
    stuck = any(wait.state == "scheduled" for wait in facts.airflow.waiting.waits)
    suspects = (*_SUSPECTS, *facts.kubernetes.workers) if troubled else ("scheduler",) if stuck else ()
    signs_in = "web" if any(pod.component == "web" for pod in facts.kubernetes.pods.values()) else "api-server"
    pods, nodes = facts.kubernetes.pods, facts.kubernetes.nodes
    # The API gets a log from the kubelet, and waits half a minute for a silent one.
    readable = {name: pod for name, pod in pods.items() if pod.node not in nodes or not nodes[pod.node].silent}
    kube = kubernetes.reachable(session)
    return {"pods": {**pods, **with_logs(kube, scope, readable, (*suspects, signs_in))}}
