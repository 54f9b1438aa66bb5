"""The controllers of a rehearsal's cluster: what kube-controller-manager, the scheduler and AKS's add-ons do there."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from airflowaks.rehearsal.kubernetes.controllers.autoscalers import Autoscalers
from airflowaks.rehearsal.kubernetes.controllers.claims import Claims, StorageProtection
from airflowaks.rehearsal.kubernetes.controllers.cron_jobs import CronJobs
from airflowaks.rehearsal.kubernetes.controllers.deployments import Deployments
from airflowaks.rehearsal.kubernetes.controllers.disruption import Disruption
from airflowaks.rehearsal.kubernetes.controllers.endpoints import Endpoints, EndpointSlices
from airflowaks.rehearsal.kubernetes.controllers.events import Events
from airflowaks.rehearsal.kubernetes.controllers.garbage_collector import GarbageCollector
from airflowaks.rehearsal.kubernetes.controllers.jobs import Jobs
from airflowaks.rehearsal.kubernetes.controllers.load_balancers import LoadBalancers
from airflowaks.rehearsal.kubernetes.controllers.namespaces import Namespaces
from airflowaks.rehearsal.kubernetes.controllers.provisioner import Provisioner
from airflowaks.rehearsal.kubernetes.controllers.replica_sets import ReplicaSets
from airflowaks.rehearsal.kubernetes.controllers.role_aggregation import RoleAggregation
from airflowaks.rehearsal.kubernetes.controllers.scaled_objects import ScaledObjects
from airflowaks.rehearsal.kubernetes.controllers.scheduler import Scheduler
from airflowaks.rehearsal.kubernetes.controllers.service_accounts import RootCertificates, ServiceAccounts
from airflowaks.rehearsal.kubernetes.controllers.stateful_sets import StatefulSets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflowaks.rehearsal.kubernetes.cluster import Cluster
    from airflowaks.rehearsal.kubernetes.controllers.controller import Controller

CONTROLLERS: Sequence[type[Controller]] = (
    Autoscalers,
    Claims,
    CronJobs,
    Deployments,
    Disruption,
    EndpointSlices,
    Endpoints,
    Events,
    GarbageCollector,
    Jobs,
    LoadBalancers,
    Namespaces,
    Provisioner,
    ReplicaSets,
    RoleAggregation,
    RootCertificates,
    ScaledObjects,
    Scheduler,
    ServiceAccounts,
    StatefulSets,
    StorageProtection,
)


class Controllers:
    """The running controllers of one cluster."""

    def __init__(self, controllers: Sequence[Controller]) -> None:
        self._tasks = [asyncio.create_task(one.run(), name=one.component) for one in controllers]

    async def stop(self) -> None:
        """Stop them where they are; the objects say all that is needed to go on."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def start(cluster: Cluster) -> Controllers:
    """Start the cluster's controllers in the running event loop."""
    return Controllers([controller(cluster) for controller in CONTROLLERS])
