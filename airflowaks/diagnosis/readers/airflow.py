"""Reads Airflow's state from its REST API and its workers."""

from __future__ import annotations

import re
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis.readers.kubernetes import reachable
from airflowaks.diagnosis.readers.scope import COMPONENT, LABELS, component_of
from airflowaks.diagnosis.readers.shared import shared
from airflowaks.engine.times import seconds_since
from airflowaks.errors import CommandFailed, KubernetesError
from airflowaks.kube.client import Reference, connect
from airflowaks.kube.pods import is_ready
from airflowaks.kube.port_forward import forward
from airflowaks.steps import api_server, key_vault
from airflowaks.steps.airflow_checks import queues_of

if TYPE_CHECKING:
    from airflowaks.cloud.airflow_api import AirflowApi
    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.kube.client import Document
    from airflowaks.session import Session

_MOST_WORKERS, _ANSWER_SECONDS = 5, 5
# As their readiness probes.
_MOST_SERVERS, _SILENT_SECONDS = 5, 10.0
_VERSION = "/api/v2/version"
_MOST_TASKS = 20
_WEB_PORT = 8443
API_SERVER, WEB = "api-server", "web"
"""The components that serve HTTP."""
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Timeout|Warning|Exit|Interrupt)(: |$)")


def api(session: Session, scope: Scope) -> dict[str, Any]:
    """Read health, import errors and tasks; raise CheckFailed if no api-server is ready.

    A pod that hangs accepts connections, with the kernel's backlog, and is still ready for half a minute: all of them
    are asked first. Where each of them hangs, nothing else is read.
    """
    answers = shared(session, _asked, scope)
    silent = tuple(pod.name for pods in answers.values() for pod, answered in pods.items() if not answered)
    servers = answers[API_SERVER]
    if servers and not any(servers.values()):
        return {"silent": silent}
    with api_server.api(session, next((pod for pod, answered in servers.items() if answered), None)) as client:
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
    return next((pod for pod, answered in shared(session, _asked, scope)[API_SERVER].items() if answered), None)


def _asked(session: Session, scope: Scope) -> dict[str, dict[Reference, bool]]:
    """Return which of the first five started pods of the api-server, and of the web pages, answer within ten seconds.

    Those that refuse the connection are left out.
    """
    started: dict[str, list[Reference]] = {API_SERVER: [], WEB: []}
    labels = f"{LABELS},{COMPONENT} in ({','.join(started)})"
    for document in filter(_has_started, reachable(session).each("v1", "Pod", scope.namespace, labels=labels)):
        started[component_of(document)].append(Reference.of(document))
    asked = [(component, pod) for component, pods in started.items() for pod in pods[:_MOST_SERVERS]]
    answers: dict[str, dict[Reference, bool]] = {component: {} for component in started}
    with ThreadPoolExecutor(2 * _MOST_SERVERS) as pool:
        for (component, pod), answered in zip(
            asked, pool.map(lambda each: _answers(session, *each), asked), strict=True
        ):
            if answered is not None:
                answers[component][pod] = answered
    return answers


def _answers(session: Session, component: str, pod: Reference) -> bool | None:
    """Tell whether a pod answers, as the kubelet's probe asks; None if it refuses the connection.

    The probe does not verify the pages' certificate either, which is for another name; nothing secret is sent:
    https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#http-probes
    """
    try:
        served = _WEB_PORT if component == WEB else api_server.PORT
        with forward(session.memoize(connect), pod, served) as port, closing(_client(component, port)) as client:
            client.request("GET", _VERSION)
            client.getresponse()
    except TimeoutError:
        return False
    except (OSError, HTTPException, KubernetesError):
        return None
    return True


def _client(component: str, port: int) -> HTTPConnection:
    if component != WEB:
        return HTTPConnection("127.0.0.1", port, timeout=_SILENT_SECONDS)
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection("127.0.0.1", port, timeout=_SILENT_SECONDS, context=unverified)


def _has_started(pod: Document) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return "deletionTimestamp" not in pod["metadata"] and any(status.get("started") for status in statuses)


def sign_in(session: Session, client: AirflowApi) -> None:
    """Sign in to the REST API as the environment's administrator, with the vault's password."""
    vault = session.memoize(key_vault.Resources)
    with session.translated(vault.admin_password):
        client.sign_in(session.environment.airflow.admin, vault.admin_password.require("value"))


def queues(session: Session, scope: Scope) -> dict[str, Any]:
    """Read from the first five ready workers of each queue what they consume; an empty answer is a fact."""
    kube = reachable(session)
    consumed: dict[str, tuple[str, ...]] = {}
    ready: list[Document] = []
    for component in session.environment.airflow.workers_of:
        pods = kube.each("v1", "Pod", scope.namespace, labels=replace(scope, component=component).labels)
        ready += islice(filter(is_ready, pods), _MOST_WORKERS)
    for pod in map(Reference.of, ready):
        # A worker that has stopped or is unreachable is left out; the others are still read.
        with suppress(KubernetesError):
            try:
                names = tuple(queues_of(kube, pod, _ANSWER_SECONDS))
            except CommandFailed:
                names = ()
            # A worker that was told to end meanwhile finishes its tasks and takes no more.
            if names or ((document := kube.get(pod)) and is_ready(document)):
                consumed[pod.name] = names
    return {"queues": consumed}


def _age(at: str | None) -> float:
    return seconds_since(at) if at else 0.0


def _last_line(trace: str) -> str:
    """Return the exception at the end of a traceback; its message may have several lines."""
    lines = [line for line in trace.splitlines() if line.strip()]
    raised = [line for line in lines if _EXCEPTION.match(line)]
    return (raised or lines or [""])[-1]
