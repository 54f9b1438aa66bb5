"""Defaults of RBAC, storage, networking, priority classes and custom resource definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.defaults.pods import fill

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_RBAC = "rbac.authorization.k8s.io"


def role_binding(document: Document) -> None:
    """Set the API groups of the role and of the subjects."""
    fill(document.setdefault("roleRef", {}), apiGroup=_RBAC)
    for subject in document.get("subjects", ()):
        if subject.get("kind") in ("User", "Group"):
            fill(subject, apiGroup=_RBAC)


def network_policy(document: Document) -> None:
    """Set the protocol of ports, and the policy types."""
    spec = document.setdefault("spec", {})
    for rule in [*spec.get("ingress", ()), *spec.get("egress", ())]:
        for port in rule.get("ports", ()):
            fill(port, protocol="TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def storage_class(document: Document) -> None:
    """Set the reclaim policy and the volume binding mode."""
    fill(document, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def csi_driver(document: Document) -> None:
    """Set the driver's requirements on nodes."""
    spec = document.setdefault("spec", {})
    fill(
        spec,
        attachRequired=True,
        podInfoOnMount=False,
        storageCapacity=False,
        fsGroupPolicy="ReadWriteOnceWithFSType",
        requiresRepublish=False,
        seLinuxMount=False,
    )
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def priority_class(document: Document) -> None:
    """Set the preemption policy."""
    fill(document, preemptionPolicy="PreemptLowerPriority")


def webhook_configuration(document: Document) -> None:
    """Set how webhooks match and fail, and the port of their services."""
    mutating = {"reinvocationPolicy": "Never"} if document["kind"].startswith("Mutating") else {}
    for webhook in document.get("webhooks") or ():
        fill(webhook, failurePolicy="Fail", matchPolicy="Equivalent", timeoutSeconds=10, **mutating)
        fill(webhook, namespaceSelector={}, objectSelector={})
        for rule in webhook.get("rules") or ():
            fill(rule, scope="*")
        if "service" in (webhook.get("clientConfig") or {}):
            fill(webhook["clientConfig"]["service"], port=443)


def custom_resource_definition(document: Document) -> None:
    """Set the names derived from the kind, and the conversion strategy None."""
    spec = document["spec"]
    names = spec["names"]
    fill(names, singular=names["kind"].lower(), listKind=f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
