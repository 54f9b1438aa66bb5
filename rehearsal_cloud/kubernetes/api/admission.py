"""Admission: changes and refusals of the API server before it stores an object.

The plugins, in their order: LimitRanger, ServiceAccount, Priority, DefaultTolerationSeconds, DefaultStorageClass,
StorageObjectInUseProtection, AKS's workload identity webhook, PodSecurity, webhooks that nobody answers, ResourceQuota:
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.addons import workload_identity
from rehearsal_cloud.kubernetes.api import limit_ranges, pod_warnings, webhooks
from rehearsal_cloud.kubernetes.controllers import resource_quotas
from rehearsal_cloud.kubernetes.controllers.claims import PROTECTION
from rehearsal_cloud.kubernetes.failures import Failure, forbidden
from rehearsal_cloud.kubernetes.objects.lifecycle import random_suffix
from rehearsal_cloud.kubernetes.objects.service_addresses import allocate
from rehearsal_cloud.kubernetes.pod_security import admission as pod_security

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.state import ClusterState

_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a folder
_TOKEN_SECONDS = 3607
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_TOLERATED_SECONDS = 300
_SERVICES = "10.0.0.0/16"


def admit(cluster: ClusterState, document: Document, old: Document | None) -> Document:
    """Return the object as admitted; `old` is the stored object that it replaces. Raises Failure (403, 400)."""
    admitted = document if old is not None else _completed(cluster, document)
    if admitted["kind"] != "Service":
        return admitted
    network = cluster.document["properties"].get("networkProfile") or {}
    return allocate(cluster.objects, admitted, old, network.get("serviceCidr") or _SERVICES)


def review(cluster: ClusterState, document: Document, old: Document | None) -> list[str]:
    """Return the warnings about a valid object that is to be stored. Raises Failure (403, 422)."""
    limit_ranges.check(cluster.objects, document, old)
    warnings = [*pod_warnings.warnings(document, old), *pod_security.review(cluster, document, old)]
    if old is None:
        webhooks.check(cluster.objects, document)
        resource_quotas.check(cluster.objects, document)
    return warnings


def _completed(cluster: ClusterState, document: Document) -> Document:
    admitted = copy.deepcopy(document)
    if document["kind"] == "Pod":
        limit_ranges.complete(cluster.objects, admitted)
        account = _service_account(cluster, admitted)
        _priority(cluster, admitted)
        _tolerations(admitted)
        _webhook(cluster, admitted, account)
    elif document["kind"] == "PersistentVolumeClaim":
        _storage_class(cluster, admitted)
    if finalizer := PROTECTION.get(document["kind"]):
        finalizers = admitted["metadata"].get("finalizers") or []
        admitted["metadata"]["finalizers"] = [*finalizers, *({finalizer} - set(finalizers))]
    return admitted


def _service_account(cluster: ClusterState, pod: Document) -> Document:
    """Set the pod's service account, and mount its token in every container unless the pod opts out."""
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = cluster.objects.get("ServiceAccount", name, namespace)
    if account is None:
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise forbidden(cluster.kinds.named("Pod"), pod["metadata"]["name"], why)
    automount = spec.get("automountServiceAccountToken")
    if automount is None:
        automount = account.get("automountServiceAccountToken", True)
    if automount:
        _mount_token(spec)
    if account.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    return account


def _mount_token(spec: Document) -> None:
    volume = f"kube-api-access-{random_suffix()}"
    mounted = False
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        mounts = container.setdefault("volumeMounts", [])
        if all(mount["mountPath"] != _TOKEN_PATH for mount in mounts):
            mounts.append({"name": volume, "mountPath": _TOKEN_PATH, "readOnly": True})
            mounted = True
    if mounted:
        field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
        sources = [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
        ]
        spec.setdefault("volumes", []).append({"name": volume, "projected": {"defaultMode": 0o644, "sources": sources}})


def _priority(cluster: ClusterState, pod: Document) -> None:
    spec = pod["spec"]
    name, policy = spec.get("priorityClassName"), "PreemptLowerPriority"
    value = _SYSTEM_PRIORITIES.get(name or "", 0)
    if name and name not in _SYSTEM_PRIORITIES:
        priority_class = cluster.objects.get("PriorityClass", name)
        if priority_class is None:
            why = f"no PriorityClass with name {name} was found"
            raise forbidden(cluster.kinds.named("Pod"), pod["metadata"]["name"], why)
        value, policy = priority_class["value"], priority_class.get("preemptionPolicy") or policy
    if spec.setdefault("priority", value) != value:
        why = (
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority admission"
            f" controller computed {value} from the given PriorityClass name"
        )
        raise forbidden(cluster.kinds.named("Pod"), pod["metadata"]["name"], why)
    spec.setdefault("preemptionPolicy", policy)


def _tolerations(pod: Document) -> None:
    """Add the tolerations of five minutes for a lost node, unless the pod sets its own."""
    tolerations = pod["spec"].get("tolerations") or []
    for reason in ("not-ready", "unreachable"):
        taint = f"node.kubernetes.io/{reason}"
        if not any(
            toleration.get("key", taint) == taint and toleration.get("effect", "NoExecute") == "NoExecute"
            for toleration in tolerations
        ):
            lasting = {"effect": "NoExecute", "tolerationSeconds": _TOLERATED_SECONDS}
            tolerations = [*tolerations, {"key": taint, "operator": "Exists", **lasting}]
    pod["spec"]["tolerations"] = tolerations


def _storage_class(cluster: ClusterState, claim: Document) -> None:
    """Set the default storage class of a claim without a class: the newest of several."""
    annotations = claim["metadata"].get("annotations") or {}
    if claim["spec"].get("storageClassName") is not None or "volume.beta.kubernetes.io/storage-class" in annotations:
        return
    defaults = [storage_class for storage_class in cluster.objects.list("StorageClass") if _is_default(storage_class)]
    if defaults:
        newest = max(
            defaults,
            key=lambda storage_class: (
                storage_class["metadata"]["creationTimestamp"],
                storage_class["metadata"]["name"],
            ),
        )
        claim["spec"]["storageClassName"] = newest["metadata"]["name"]


def _is_default(storage_class: Document) -> bool:
    annotations = storage_class["metadata"].get("annotations") or {}
    return any(annotations.get(name) == "true" for name in _DEFAULT_CLASS)


def _webhook(cluster: ClusterState, pod: Document, account: Document) -> None:
    profile = cluster.document["properties"].get("securityProfile") or {}
    if not (profile.get("workloadIdentity") or {}).get("enabled") or not workload_identity.labelled(pod):
        return
    try:
        workload_identity.mutate(pod, account)
    except workload_identity.WebhookDenied as denied:
        text = f'admission webhook "mutation.azure-workload-identity.io" denied the request: {denied}'
        raise Failure(400, "BadRequest", text) from None
