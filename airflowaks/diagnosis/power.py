"""Fixes that start what somebody has stopped: the cluster and the PostgreSQL server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflowaks.engine.changes import Action, Change, Changes, Difference
from airflowaks.engine.resource import value_at
from airflowaks.engine.results import Results
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
    began = time.time()
    with session.translated(resource):
        if value_at(resource.refresh(), path) != _STOPPED:
            return Changes()
        if session.applies:
            start()
            resource.refresh()
    change = Change(
        kind=resource.kind,
        name=resource.name,
        action=Action.UPDATE,
        id=resource.id,
        differences=(Difference(path, _STOPPED, "started"),),
        began=began,
        seconds=time.time() - began,
        applied=session.applies,
    )
    session.memoize(Results).changes.append(change)
    return Changes((change,))
