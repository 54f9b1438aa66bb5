"""The controller manager of a cluster: it runs kube-controller-manager's controllers, the scheduler and the add-ons."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.addons.keda.external_metrics import ExternalMetrics
from rehearsal_cloud.kubernetes.addons.keda.scaled_objects import ScaledObjects
from rehearsal_cloud.kubernetes.controllers.autoscalers import Autoscalers
from rehearsal_cloud.kubernetes.controllers.claims import Claims, StorageProtection
from rehearsal_cloud.kubernetes.controllers.cluster_autoscaler import ClusterAutoscaler
from rehearsal_cloud.kubernetes.controllers.cordons import Cordons
from rehearsal_cloud.kubernetes.controllers.cron_jobs import CronJobs
from rehearsal_cloud.kubernetes.controllers.deployments import Deployments
from rehearsal_cloud.kubernetes.controllers.disruption import Disruption
from rehearsal_cloud.kubernetes.controllers.endpoints import Endpoints, EndpointSlices
from rehearsal_cloud.kubernetes.controllers.events import Events
from rehearsal_cloud.kubernetes.controllers.garbage_collector import GarbageCollector
from rehearsal_cloud.kubernetes.controllers.jobs import Jobs
from rehearsal_cloud.kubernetes.controllers.load_balancers import LoadBalancers
from rehearsal_cloud.kubernetes.controllers.namespaces import Namespaces
from rehearsal_cloud.kubernetes.controllers.provisioner import Provisioner
from rehearsal_cloud.kubernetes.controllers.replica_sets import ReplicaSets
from rehearsal_cloud.kubernetes.controllers.resource_quotas import ResourceQuotas
from rehearsal_cloud.kubernetes.controllers.role_aggregation import RoleAggregation
from rehearsal_cloud.kubernetes.controllers.scheduler import Scheduler
from rehearsal_cloud.kubernetes.controllers.service_accounts import RootCertificates, ServiceAccounts
from rehearsal_cloud.kubernetes.controllers.stateful_sets import StatefulSets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.kubernetes.controllers.controller import Controller
    from rehearsal_cloud.kubernetes.state import ClusterState

CONTROLLERS: Sequence[type[Controller]] = (
    Claims,
    ClusterAutoscaler,
    Cordons,
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
    ResourceQuotas,
    RoleAggregation,
    RootCertificates,
    ScaledObjects,
    Scheduler,
    ServiceAccounts,
    StatefulSets,
    StorageProtection,
)


class Controllers:
    """The running controllers of a cluster."""

    def __init__(self, controllers: Sequence[Controller]) -> None:
        self._tasks = [asyncio.create_task(controller.run(), name=controller.component) for controller in controllers]

    async def stop(self) -> None:
        """Stop the controllers at once; the stored objects hold everything that a restart needs."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def start(cluster: ClusterState) -> Controllers:
    """Start the cluster's controllers in the running event loop."""
    metrics = ExternalMetrics(cluster.objects, cluster.cloud.home.ca_file)
    return Controllers([Autoscalers(cluster, metrics), *(controller(cluster) for controller in CONTROLLERS)])
