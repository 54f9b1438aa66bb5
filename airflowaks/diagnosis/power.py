"""Fixes that start what somebody has stopped: the cluster and the PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.written import written
from airflowaks.engine.changes import Changes, Difference
from airflowaks.engine.resource import value_at
from airflowaks.steps import backend, cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.azure.arm import ArmResource
    from airflowaks.session import Session

_STOPPED = "Stopped"


def start_cluster(session: Session) -> Changes:
    """Start the cluster where it is stopped, on AKS in about five minutes.

    https://learn.microsoft.com/azure/aks/start-stop-cluster
    """
    aks = session.memoize(cluster.Resources).cluster
    begin = session.clusters.managed_clusters.begin_start
    return _start(session, aks, "properties.powerState.code", lambda: begin(aks.group, aks.name).result())


def start_server(session: Session) -> Changes:
    """Start the PostgreSQL server where it is stopped.

    https://learn.microsoft.com/azure/postgresql/configure-maintain/how-to-stop-server
    """
    server = session.memoize(backend.Resources).server
    begin = session.postgresql.servers.begin_start
    return _start(session, server, server.state_path, lambda: begin(server.group, server.name).result())


def _start(session: Session, resource: ArmResource, path: str, start: Callable[[], object]) -> Changes:
    with session.translated(resource):
        if value_at(resource.refresh(), path) != _STOPPED:
            return Changes()

        def write() -> None:
            start()
            resource.refresh()

        thing = (resource.kind, resource.name, resource.id)
        return written(session, thing, [Difference(path, _STOPPED, "started")], write)
