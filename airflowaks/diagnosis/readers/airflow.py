"""Reads Airflow's state from its REST API and its workers."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis.readers.kubernetes import reachable
from airflowaks.engine.times import seconds_since
from airflowaks.errors import CommandFailed, KubernetesError
from airflowaks.kube.client import Reference
from airflowaks.kube.pods import is_ready
from airflowaks.steps import api_server, key_vault
from airflowaks.steps.airflow_checks import queues_of

if TYPE_CHECKING:
    from airflowaks.cloud.airflow_api import AirflowApi
    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.kube.client import Document
    from airflowaks.session import Session

_MOST_WORKERS, _ANSWER_SECONDS = 5, 5
# As its readiness probe.
_MOST_API_SERVERS, _SILENT_SECONDS = 5, 10.0
_MOST_TASKS = 20
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Timeout|Warning|Exit|Interrupt)(: |$)")


def api(session: Session, scope: Scope) -> dict[str, Any]:
    """Read health, import errors and tasks; raise CheckFailed if no api-server is ready.

    A pod that hangs accepts connections, with the kernel's backlog, and is still ready for half a minute: all of them
    are asked first. Where each of them hangs, nothing else is read.
    """
    answers = _asked(session, scope)
    silent = tuple(pod.name for pod, answered in answers.items() if not answered)
    if silent and not any(answers.values()):
        return {"silent": silent}
    with api_server.api(session, next((pod for pod, answered in answers.items() if answered), None)) as client:
        health = {name: str(state.get("status")) for name, state in client.health().items()}
        sign_in(session, client)
        queued, queued_count = client.tasks("queued", _MOST_TASKS)
        return {
            "health": health,
            "silent": silent,
            "queued": queued_count,
            "queued_seconds": max((_age(task["queued_when"]) for task in queued), default=0.0),
            "import_errors": {error["filename"]: _last_line(error["stack_trace"]) for error in client.import_errors()},
        }


def answering(session: Session, scope: Scope) -> Reference | None:
    """Return an api-server that answers, if there is one."""
    return next((pod for pod, answered in _asked(session, scope).items() if answered), None)


def _asked(session: Session, scope: Scope) -> dict[Reference, bool]:
    """Return which of the first five started api-servers answer within ten seconds; others refuse the connection."""
    servers = replace(scope, component="api-server")
    pods = reachable(session).each("v1", "Pod", scope.namespace, labels=servers.labels)
    started = [Reference.of(pod) for pod in islice(filter(_has_started, pods), _MOST_API_SERVERS)]
    if not started:
        return {}
    with ThreadPoolExecutor(len(started)) as pool:
        answers = zip(started, pool.map(lambda pod: _answers(session, pod), started), strict=True)
        return {pod: answered for pod, answered in answers if answered is not None}


def _answers(session: Session, pod: Reference) -> bool | None:
    from azure.core.exceptions import AzureError

    try:
        with api_server.api(session, pod) as client:
            return client.answers(_SILENT_SECONDS)
    except (AzureError, KubernetesError):
        return None


def _has_started(pod: Document) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return "deletionTimestamp" not in pod["metadata"] and any(status.get("started") for status in statuses)


def sign_in(session: Session, client: AirflowApi) -> None:
    """Sign in to the REST API as the environment's administrator, with the vault's password."""
    vault = session.memoize(key_vault.Resources)
    with session.translated(vault.admin_password):
        client.sign_in(session.environment.airflow.admin, vault.admin_password.require("value"))


def queues(session: Session, scope: Scope) -> dict[str, Any]:
    """Read from the first five ready workers which queues they consume; an empty answer is a fact."""
    kube = reachable(session)
    workers = replace(scope, component="worker")
    ready = filter(is_ready, kube.each("v1", "Pod", scope.namespace, labels=workers.labels))
    consumed: dict[str, tuple[str, ...]] = {}
    for pod in map(Reference.of, islice(ready, _MOST_WORKERS)):
        # A worker that has stopped or is unreachable is left out; the others are still read.
        with suppress(KubernetesError):
            try:
                consumed[pod.name] = tuple(queues_of(kube, pod, _ANSWER_SECONDS))
            except CommandFailed:
                consumed[pod.name] = ()
    return {"queues": consumed}


def _age(at: str | None) -> float:
    return seconds_since(at) if at else 0.0


def _last_line(trace: str) -> str:
    """Return the exception at the end of a traceback; its message may have several lines."""
    lines = [line for line in trace.splitlines() if line.strip()]
    raised = [line for line in lines if _EXCEPTION.match(line)]
    return (raised or lines or [""])[-1]
