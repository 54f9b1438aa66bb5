"""The workers of each queue that the environment names: their manifests, filled once for each, and where they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.node_pools import SPOT_TAINT
from airflowaks.config.airflow_schema import WORKER, Queue, WorkersOf
from airflowaks.errors import Forbidden
from airflowaks.kube.client import connect
from airflowaks.kube.manifests import load
from airflowaks.kube.objects import KubeObject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflowaks.config.schema import NodePool
    from airflowaks.engine.resource import Resource
    from airflowaks.kube.manifests import Manifest
    from airflowaks.session import Session

_FOLDER = "07_airflow/workers"
_AIRFLOW, _COMPONENT = "app.kubernetes.io/name=airflow", "app.kubernetes.io/component"


def manifests(session: Session, values: Mapping[str, Any]) -> list[Manifest]:
    """Return the objects of the workers of all queues."""
    return [
        manifest
        for component, workers in session.environment.airflow.workers_of.items()
        for manifest in _filled(session, values, component, workers)
    ]


def removed(session: Session, values: Mapping[str, Any], namespace: Resource) -> list[KubeObject]:
    """Return the objects of workers whose queue the environment names no more, the scaling first.

    Their pods finish their tasks before they end, as at a roll-out.
    """
    if namespace.facts is None:
        return []
    present = session.memoize(connect).each("apps/v1", "Deployment", namespace.name, labels=_AIRFLOW)
    try:
        components = {str(deployment["metadata"]["labels"].get(_COMPONENT)) for deployment in present}
    except Forbidden:
        if session.mode != "check":
            raise
        return []
    queues = {name for name in components if name.startswith(f"{WORKER}-")}
    return [
        KubeObject(manifest, parent=namespace)
        for component in sorted(queues - set(session.environment.airflow.workers_of))
        for manifest in reversed(
            _filled(session, values, component, WorkersOf(component.removeprefix(f"{WORKER}-"), Queue()))
        )
    ]


def node_selector(session: Session) -> dict[str, str]:
    """Return what ties Airflow's pods to its pool where the cluster's own pods have one.

    https://learn.microsoft.com/azure/aks/use-labels: AKS gives each node the name of its pool.
    """
    cluster = session.environment.cluster
    return _on(cluster.node_pool) if cluster.system_pool else {}


def _filled(session: Session, values: Mapping[str, Any], component: str, workers: WorkersOf) -> list[Manifest]:
    settings, spot_pool = workers.settings, session.environment.cluster.spot_pool
    on_spot = spot_pool if isinstance(settings, Queue) and settings.spot else None
    of_queue: dict[str, Any] = {
        "WORKER": component,
        "QUEUE": workers.queue,
        "WORKER_CPU": settings.cpu,
        "WORKER_MEMORY": settings.memory,
        "WORKER_MIN": settings.min_count,
        "WORKER_MAX": settings.max_count,
        "WORKER_CONCURRENCY": settings.concurrency,
        "NODE_SELECTOR": _on(on_spot) if on_spot else node_selector(session),
        "TOLERATIONS": [{**SPOT_TAINT, "operator": "Equal"}] if on_spot else [],
    }
    return load(_FOLDER, {**values, **of_queue})


def _on(pool: NodePool) -> dict[str, str]:
    return {"kubernetes.azure.com/agentpool": pool.name}
