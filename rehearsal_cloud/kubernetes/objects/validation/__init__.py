"""Validation: the rules of each kind, with the API server's messages.

After pkg/apis/*/validation of https://github.com/kubernetes/kubernetes: the rules that a platform engineer meets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects import custom_schemas
from rehearsal_cloud.kubernetes.objects.validation import (
    certificates,
    cluster,
    configuration,
    events,
    jobs,
    limit_ranges,
    names,
    network,
    pods,
    scaling,
    services,
    storage,
    webhooks,
    workloads,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause
    from rehearsal_cloud.kubernetes.objects.kinds import Kind
    from rehearsal_cloud.kubernetes.objects.schema import Schemas
    from rehearsal_cloud.kubernetes.objects.validation.names import Grammar

    Rules = Callable[[Document, Document | None], Iterable[Cause]]

_BY_KIND: dict[tuple[str, str], Rules] = {
    ("", "ConfigMap"): configuration.config_map,
    ("", "Event"): events.event,
    ("", "LimitRange"): limit_ranges.limit_range,
    ("", "PersistentVolume"): storage.persistent_volume,
    ("", "PersistentVolumeClaim"): storage.persistent_volume_claim,
    ("", "Pod"): pods.pod,
    ("", "Secret"): configuration.secret,
    ("", "Service"): services.service,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): webhooks.webhook_configuration,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): webhooks.webhook_configuration,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): cluster.custom_resource_definition,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): scaling.horizontal_pod_autoscaler,
    ("batch", "CronJob"): jobs.cron_job,
    ("batch", "Job"): jobs.job,
    ("certificates.k8s.io", "CertificateSigningRequest"): certificates.signing_request,
    ("networking.k8s.io", "Ingress"): network.ingress,
    ("networking.k8s.io", "NetworkPolicy"): network.network_policy,
    ("policy", "PodDisruptionBudget"): scaling.pod_disruption_budget,
    ("rbac.authorization.k8s.io", "ClusterRole"): cluster.cluster_role,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): cluster.cluster_role_binding,
    ("rbac.authorization.k8s.io", "Role"): cluster.role,
    ("rbac.authorization.k8s.io", "RoleBinding"): cluster.role_binding,
    ("scheduling.k8s.io", "PriorityClass"): cluster.priority_class,
    ("storage.k8s.io", "CSIDriver"): storage.csi_driver,
    ("storage.k8s.io", "StorageClass"): storage.storage_class,
}
_GRAMMARS: dict[tuple[str, str], Grammar] = {
    ("", "Namespace"): names.dns_label,
    ("", "Service"): names.dns_1035_label,
    ("rbac.authorization.k8s.io", "ClusterRole"): names.path_segment,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): names.path_segment,
    ("rbac.authorization.k8s.io", "Role"): names.path_segment,
    ("rbac.authorization.k8s.io", "RoleBinding"): names.path_segment,
}
_RELAXED = 36
_GRAMMARS_1_36: dict[tuple[str, str], Grammar] = {("", "Service"): names.dns_label}
"""Measured with 1.36: service names may begin with a digit (RelaxedServiceNameValidation, KEP-5311)."""


def validate(
    schemas: Schemas, kind: Kind, document: Document, old: Document | None = None, minor: int = 35
) -> list[Cause]:
    """Return the validation errors of an object to be stored, or to replace `old`, by a cluster of 1.`minor`."""
    key = (kind.group, kind.kind)
    grammars = _GRAMMARS | (_GRAMMARS_1_36 if minor >= _RELAXED else {})
    wrong = list(names.metadata(kind, document, old, grammars.get(key, names.dns_subdomain)))
    if kind.custom:
        return wrong + custom_schemas.validate(schemas.of(kind), document)
    rules = _BY_KIND.get(key)
    return wrong if rules is None else wrong + list(rules(document, old))
