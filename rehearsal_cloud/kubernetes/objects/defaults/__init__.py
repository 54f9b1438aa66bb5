"""Defaults: the values that the API server sets for unset fields, by API group.

After pkg/apis/*/*/defaults.go of https://github.com/kubernetes/kubernetes; the defaults of custom
resources come from their schemas and are set during decoding.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.defaults import cluster, core, pods, workloads

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.kinds import Kind

_BY_KIND: dict[tuple[str, str], Callable[[Document], None]] = {
    ("", "Endpoints"): core.endpoints,
    ("", "LimitRange"): core.limit_range,
    ("", "PersistentVolume"): core.persistent_volume,
    ("", "PersistentVolumeClaim"): core.persistent_volume_claim,
    ("", "Pod"): pods.pod,
    ("", "Secret"): core.secret,
    ("", "Service"): core.service,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): cluster.webhook_configuration,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): cluster.webhook_configuration,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): cluster.custom_resource_definition,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): workloads.horizontal_pod_autoscaler,
    ("batch", "CronJob"): workloads.cron_job,
    ("batch", "Job"): workloads.job,
    ("discovery.k8s.io", "EndpointSlice"): core.endpoint_slice,
    ("networking.k8s.io", "NetworkPolicy"): cluster.network_policy,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): cluster.role_binding,
    ("rbac.authorization.k8s.io", "RoleBinding"): cluster.role_binding,
    ("scheduling.k8s.io", "PriorityClass"): cluster.priority_class,
    ("storage.k8s.io", "CSIDriver"): cluster.csi_driver,
    ("storage.k8s.io", "StorageClass"): cluster.storage_class,
}


def default(kind: Kind, document: Document) -> Document:
    """Return a decoded object with the server's defaults for unset fields."""
    fill = _BY_KIND.get((kind.group, kind.kind))
    if fill is None:
        return document
    defaulted = copy.deepcopy(document)
    fill(defaulted)
    return defaulted
