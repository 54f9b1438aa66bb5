"""Gathering facts: every part of every source side by side; one that cannot be read says so, and the others go on."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from airflowaks.cloud.connection import Connection
from airflowaks.cloud.error_mapping import translate
from airflowaks.diagnosis.facts.airflow import Airflow
from airflowaks.diagnosis.facts.azure import Azure
from airflowaks.diagnosis.facts.backend import Backend
from airflowaks.diagnosis.facts.kubernetes import Kubernetes
from airflowaks.diagnosis.facts.reading import Reading
from airflowaks.diagnosis.facts.snapshot import Snapshot
from airflowaks.diagnosis.readers import airflow, azure, backend, kubernetes
from airflowaks.diagnosis.readers.pods import with_logs
from airflowaks.engine.times import timestamp
from airflowaks.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.cloud.redaction import Redactor
    from airflowaks.diagnosis.readers.scope import Scope

_PARTS: dict[str, Any] = {
    "azure.resources": azure.resources,
    "azure.operations": azure.operations,
    "azure.quotas": azure.quotas,
    "kubernetes.pods": kubernetes.workloads,
    "kubernetes.objects": kubernetes.objects,
    "kubernetes.secrets": kubernetes.secrets,
    "airflow.api": airflow.api,
    "airflow.queues": airflow.queues,
    "backend.database": backend.database,
    "backend.administrator": backend.administrator,
    "backend.broker": backend.broker,
}
_LOGS = "kubernetes.logs"
_RETRIES, _CONNECT_SECONDS = 2, 10
_LONG_QUEUED_SECONDS = 60.0
# Who knows why tasks fail while all pods are ready.
_SUSPECTS = ("api-server", "scheduler", "worker")


class _Hurried(Connection):
    """A connection that soon gives up: in an incident, that a service does not answer is to be known in seconds."""

    @property
    def transport(self) -> dict[str, Any]:
        """Return the arguments that every SDK client takes."""
        return {**super().transport, "retry_total": _RETRIES, "connection_timeout": _CONNECT_SECONDS}


def gather(session: Session, scope: Scope) -> Snapshot:
    """Return all facts, read anew and without writing anything; every secret that was met is masked in them."""
    connection = _Hurried(**vars(session.connection))
    looking = Session(session.environment, "plan", connection, redactor=session.redactor)
    with ThreadPoolExecutor(len(_PARTS)) as pool:
        read = dict(zip(_PARTS, pool.map(lambda name: _read(looking, scope, name, _PARTS[name]), _PARTS), strict=True))
    found: dict[str, dict[str, Any]] = {"azure": {}, "kubernetes": {}, "airflow": {}, "backend": {}}
    for name, (values, _) in read.items():
        found[name.partition(".")[0]] |= values
    facts = Snapshot(
        Azure(**found["azure"]),
        Kubernetes(**found["kubernetes"]),
        Airflow(**found["airflow"]),
        Backend(**found["backend"]),
        {name: reading for name, (_, reading) in read.items()},
    )
    values, reading = _read(looking, scope, _LOGS, lambda session, scope: _logs(session, scope, facts))
    facts = replace(facts, kubernetes=replace(facts.kubernetes, **values), readings={**facts.readings, _LOGS: reading})
    masked: Snapshot = _masked(facts, session.redactor)
    return masked


def _read(
    session: Session, scope: Scope, name: str, part: Callable[[Session, Scope], dict[str, Any]]
) -> tuple[dict[str, Any], Reading]:
    at, started = timestamp(), time.monotonic()
    values: dict[str, Any] = {}
    problem = ""
    try:
        values = part(session, scope)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is the fact
        problem = translate(error, name, session.redactor).message.removeprefix(f"{name}: ")
    return values, Reading(at, round(time.monotonic() - started, 2), problem)


def _logs(session: Session, scope: Scope, facts: Snapshot) -> dict[str, Any]:
    """Return the pods with the logs of those that are ill, and of who may know why tasks fare badly."""
    if not facts.kubernetes.pods:
        return {}
    unread = facts.unread("airflow.api")
    troubled = unread or facts.airflow.failed or facts.airflow.queued_seconds > _LONG_QUEUED_SECONDS
    known, nodes = facts.kubernetes.pods, facts.kubernetes.nodes
    # The API has the kubelet read a log, and waits half a minute for one that is silent.
    asked = {name: one for name, one in known.items() if one.node not in nodes or not nodes[one.node].silent}
    kube = kubernetes.reachable(session)
    return {"pods": {**known, **with_logs(kube, scope, asked, _SUSPECTS if troubled else ())}}


def _masked(value: Any, redactor: Redactor) -> Any:
    """Return `value` with every secret that is known by now masked, wherever text is in it."""
    if isinstance(value, str):
        return redactor.redact(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: _masked(getattr(value, one.name), redactor) for one in fields(value)})
    if isinstance(value, dict):
        return {key: _masked(one, redactor) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_masked(one, redactor) for one in value)
    return value
