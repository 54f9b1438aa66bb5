"""The server's part of an object: identity, generation, status and the marks of deletion.

After the strategies of https://github.com/kubernetes/kubernetes/tree/master/pkg/registry
"""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import Cause, Failure, conflict, invalid

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.kinds import Kind

_RANDOM_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_BASE = 58

_WRITTEN_WITH_STATUS = {
    "Node": ("annotations", "labels"),
    "Pod": ("annotations", "labels"),
    "Deployment": ("annotations",),
}
_NO_GENERATION = frozenset(
    {
        "Namespace", "Node", "Service", "Endpoints", "ConfigMap", "Secret", "ServiceAccount", "Event",
        "PersistentVolume", "PersistentVolumeClaim", "LimitRange", "ResourceQuota", "ControllerRevision",
        "HorizontalPodAutoscaler", "Lease", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding",
        "StorageClass", "CSIDriver", "CSINode", "VolumeAttachment", "CertificateSigningRequest", "ResourceClaim",
        "ResourceClaimTemplate",
    }
)  # fmt: skip
_FIRST_STATUS: dict[str, Document] = {
    "Namespace": {"phase": "Active"},
    "Pod": {"phase": "Pending"},
    "PersistentVolume": {"phase": "Pending"},
    "PersistentVolumeClaim": {"phase": "Pending"},
    "Service": {"loadBalancer": {}},
    "Ingress": {"loadBalancer": {}},
    "ReplicaSet": {"replicas": 0},
    "ReplicationController": {"replicas": 0},
    "StatefulSet": {"replicas": 0, "availableReplicas": 0},
    "DaemonSet": {
        "currentNumberScheduled": 0,
        "desiredNumberScheduled": 0,
        "numberMisscheduled": 0,
        "numberReady": 0,
    },
    "HorizontalPodAutoscaler": {"currentMetrics": None, "desiredReplicas": 0},
    "PodDisruptionBudget": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0},
}
_UNCONDITIONAL_REFUSED = frozenset({"CustomResourceDefinition", "Lease", "PodDisruptionBudget"})
CREATED_BY_UPDATE = frozenset(
    {"Lease", "Endpoints", "Event", "LimitRange", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Service"}
)
"""The kinds of which a PUT makes an object that is not there."""

EPHEMERAL_CONTAINERS = "ephemeralcontainers"
"""The subresource of a pod that takes further containers for debugging, and nothing else."""


def now() -> str:
    """Return the current time in the format of metadata."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def random_suffix(length: int = 5) -> str:
    """Return the random suffix of a generated name: no vowels, so no words."""
    return "".join(secrets.choice(_RANDOM_LETTERS) for _ in range(length))


def has_status(kind: Kind) -> bool:
    """Tell whether only the status subresource writes the kind's status."""
    return "status" in kind.subresources


def new_object(kind: Kind, document: Document) -> Document:
    """Return a new object with the identity that the server sets. Raises Failure (422) where it has no name."""
    metadata = dict(document.get("metadata") or {})
    if not metadata.get("name"):
        if not metadata.get("generateName"):
            cause = Cause("FieldValueRequired", "metadata.name", "Required value: name or generateName is required")
            raise invalid(kind, "", [cause])
        metadata["name"] = metadata["generateName"][:_LONGEST_BASE] + random_suffix()
    for key in ("resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        metadata.pop(key, None)
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
    if kind.kind not in _NO_GENERATION:
        metadata["generation"] = 1
    created = {**document, "metadata": metadata}
    if has_status(kind):
        created.pop("status", None)
        if kind.kind in _FIRST_STATUS:
            created["status"] = dict(_FIRST_STATUS[kind.kind])
        elif not kind.custom and kind.kind != "ResourceQuota":
            created["status"] = {}
    if kind.kind == "Namespace":
        metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}
        created["spec"] = {**(created.get("spec") or {}), "finalizers": ["kubernetes"]}
    return _stored(kind, created)


def check_current(kind: Kind, document: Document, old: Document) -> None:
    """Raise Failure (409) where the document has an older version, or is another object of that name."""
    metadata, kept = document["metadata"], old["metadata"]
    name = kept["name"]
    if metadata.get("uid") and metadata["uid"] != kept["uid"]:
        key = "/".join(filter(None, (f"/registry/{kind.plural}", kept.get("namespace"), name)))
        why = (
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition"
            f" failed: UID in precondition: {metadata['uid']}, UID in object meta: {kept['uid']}"
        )
        raise conflict(kind, name, why)
    version = metadata.get("resourceVersion")
    if version and version != kept["resourceVersion"]:
        if not version.isdigit():
            raise Failure(500, "", f'strconv.ParseUint: parsing "{version}": invalid syntax')
        raise conflict(kind, name)
    if not version and (kind.custom or kind.kind in _UNCONDITIONAL_REFUSED):
        text = "Invalid value: 0: must be specified for an update"
        raise invalid(kind, name, [Cause("FieldValueInvalid", "metadata.resourceVersion", text)])


def updated(kind: Kind, document: Document, old: Document, subresource: str) -> Document:
    """Return the updated `old`: the server's part stays, and the part that the path does not write."""
    if subresource in ("status", "finalize", "approval"):
        return _below(kind, document, old, subresource)
    if subresource == EPHEMERAL_CONTAINERS:
        document = _debugged(document, old)
    metadata = dict(document["metadata"])
    kept = old["metadata"]
    metadata.pop("generation", None)
    # Validation rejects a client's change of the deletion marks or of the identity.
    for key in ("creationTimestamp", "deletionTimestamp", "generation", "name"):
        metadata |= {key: kept[key]} if key in kept else {}
    for key in ("uid", "deletionGracePeriodSeconds"):
        if not metadata.get(key) and key in kept:
            metadata[key] = kept[key]
    if "generateName" in kept:
        metadata.setdefault("generateName", kept["generateName"])
    metadata.pop("selfLink", None)
    metadata["resourceVersion"] = kept["resourceVersion"]
    new = {**document, "metadata": metadata}
    if has_status(kind):
        new.pop("status", None)
        new |= {"status": old["status"]} if "status" in old else {}
    if kind.kind in ("Namespace", "CertificateSigningRequest"):
        new["spec"] = old["spec"]
    # Binding a pod counts no generation (test/e2e/node/pods.go: "pod generation should start at 1").
    if "generation" in kept and subresource != "binding" and _content(kind, new) != _content(kind, old):
        metadata["generation"] = kept["generation"] + 1
    return _stored(kind, new)


def _debugged(document: Document, old: Document) -> Document:
    """Return the old pod with the document's ephemeral containers."""
    spec = {name: value for name, value in old["spec"].items() if name != "ephemeralContainers"}
    spec |= {name: value for name, value in document["spec"].items() if name == "ephemeralContainers"}
    tracked = {name: value for name, value in document["metadata"].items() if name == "managedFields"}
    return {**old, "metadata": {**old["metadata"], **tracked}, "spec": spec}


def _stored(kind: Kind, document: Document) -> Document:
    """Return the object as its Go type is written: a policy's empty list is not, though it differs from a missing one.

    So each apply of it gains a generation, as measured with Kubernetes 1.20 and 1.36. An EndpointSlice's is null.
    """
    if kind.kind == "EndpointSlice":
        return {**document, **{name: document.get(name) or None for name in ("endpoints", "ports")}}
    if kind.kind != "NetworkPolicy":
        return document
    return {**document, "spec": {name: value for name, value in document["spec"].items() if value != []}}


def _below(kind: Kind, document: Document, old: Document, subresource: str) -> Document:
    metadata = dict(old["metadata"])
    if "managedFields" in document["metadata"]:
        metadata["managedFields"] = document["metadata"]["managedFields"]
    new = {**old, "metadata": metadata}
    if subresource == "finalize":
        return {**new, "spec": document.get("spec") or {}}
    # The kubelet annotates through the status, and so does the Deployment controller.
    for key in _WRITTEN_WITH_STATUS.get(kind.kind, ()):
        if key in document["metadata"]:
            metadata[key] = document["metadata"][key]
    if subresource == "approval":
        times = {"lastUpdateTime": now(), "lastTransitionTime": now()}
        conditions = [times | condition for condition in (document.get("status") or {}).get("conditions") or ()]
        return {**new, "status": {**old["status"], "conditions": conditions}}
    new.pop("status", None)
    return {**new, "status": document["status"]} if "status" in document else new


def _content(kind: Kind, document: Document) -> Document:
    """Return the part of the object that its generation counts."""
    content = {key: value for key, value in document.items() if key not in ("metadata", "apiVersion", "kind")}
    if has_status(kind):
        content.pop("status", None)
    if kind.kind == "Deployment":
        content["annotations"] = document["metadata"].get("annotations") or {}
    return content


def is_unchanged(new: Document, old: Document) -> bool:
    """Tell whether a write would change nothing; the times of managedFields do not count."""
    return _timeless(new) == _timeless(old)


def _timeless(document: Document) -> Document:
    metadata = {key: value for key, value in document["metadata"].items() if value not in (None, {}, [])}
    metadata.pop("resourceVersion", None)
    managers = [{**entry, "time": None} for entry in metadata.get("managedFields") or ()]
    return {**document, "metadata": {**metadata, "managedFields": managers}}


def marked_for_deletion(document: Document, grace: int) -> Document:
    """Return the object marked for deletion in `grace` seconds."""
    metadata = dict(document["metadata"])
    if "generation" in metadata and "deletionTimestamp" not in metadata:
        metadata["generation"] += 1
    when = datetime.now(UTC) + timedelta(seconds=grace)
    metadata["deletionTimestamp"] = when.strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata["deletionGracePeriodSeconds"] = grace
    return {**document, "metadata": metadata}


def is_terminating(document: Document) -> bool:
    """Tell whether the object is marked for deletion."""
    return "deletionTimestamp" in document["metadata"]


def has_finalizers(document: Document) -> bool:
    """Tell whether finalizers keep the object."""
    in_spec = (document.get("spec") or {}).get("finalizers") if document["kind"] == "Namespace" else None
    return bool(document["metadata"].get("finalizers") or in_spec)
