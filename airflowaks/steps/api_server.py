"""Airflow's api-server from this machine: a port-forward to a pod of it, and the REST API through that."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflowaks.cloud.airflow_api import AirflowApi
from airflowaks.errors import CheckFailed
from airflowaks.kube.client import Reference, connect
from airflowaks.kube.pods import is_ready
from airflowaks.kube.port_forward import forward

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from airflowaks.session import Session

PORT = 8080


def forwarded(session: Session, port: int = 0, pod: Reference | None = None) -> AbstractContextManager[int]:
    """Return a context in which a port of this machine (0: any free port) is forwarded to an api-server, or to `pod`.

    Raises CheckFailed where no api-server is ready.
    """
    pod = pod or ready_pods(session, "api-server")[0]
    return forward(session.memoize(connect), pod, PORT, local_port=port)


@contextmanager
def api(session: Session, pod: Reference | None = None) -> Iterator[AirflowApi]:
    """Open Airflow's REST API, not signed in. Raises CheckFailed where no api-server is ready."""
    with forwarded(session, pod=pod) as port:
        yield AirflowApi(f"http://127.0.0.1:{port}", session.redactor)


def ready_pods(session: Session, component: str) -> list[Reference]:
    """Return a component's ready pods. Raises CheckFailed where there is none."""
    labels = f"app.kubernetes.io/name=airflow,app.kubernetes.io/component={component}"
    namespace = session.environment.cluster.namespace
    pods = session.memoize(connect).each("v1", "Pod", namespace, labels=labels)
    if ready := [Reference.of(pod) for pod in pods if is_ready(pod)]:
        return ready
    message = f"Component {component}: no pod is ready in the namespace {namespace}."
    raise CheckFailed(message, "Run step 7 with mode=apply: it waits for the pods and reports why they do not start.")
