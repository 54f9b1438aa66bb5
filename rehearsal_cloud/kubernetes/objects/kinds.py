"""The kinds that a cluster serves, for discovery, and their look-up by name, path or document.

Names, verbs and subresources are those of Kubernetes 1.35 (https://kubernetes.io/docs/reference/kubernetes-api/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import bad_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Kind:
    """A kind of object in a version of its group."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    custom: bool = False
    """Whether a CustomResourceDefinition made it."""

    @property
    def api_version(self) -> str:
        """Return `apps/v1`, or `v1` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """Return the resource's name in messages: `deployments.apps`, or `pods` in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def stored(self) -> bool:
        """Tell whether its objects are stored; reviews and metrics are not."""
        return "patch" in self.verbs


def _kind(  # noqa: PLR0913 - the columns of the table below
    api_version: str,
    kind: str,
    short: str = "",
    subresources: str = "",
    *,
    plural: str = "",
    namespaced: bool = True,
    verbs: tuple[str, ...] = ALL_VERBS,
    category: str = "",
) -> Kind:
    group, _, version = api_version.rpartition("/")
    singular = kind.lower()
    categories = (category,) if category else ()
    names, below = tuple(short.split()), tuple(subresources.split())
    return Kind(group, version, kind, plural or f"{singular}s", singular, names, namespaced, verbs, below, categories)


_REVIEW = ("create",)
_ONE_BY_ONE = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
_EXTENSION = "api-extensions"
_MEASURED = ("get", "list")
_POD = "attach binding ephemeralcontainers eviction exec log portforward proxy status"
# The first version of a kind is stored; `conversion` makes the others of it. Admission policies and devices are stored
# without effect: no well-kept library evaluates CEL as the API server does, and no node has a device.
_BUILT_IN = (
    _kind("v1", "Namespace", "ns", "finalize status", namespaced=False, verbs=_ONE_BY_ONE),
    _kind("v1", "Node", "no", "proxy status", namespaced=False),
    _kind("v1", "Pod", "po", _POD, category="all"),
    _kind("v1", "Service", "svc", "proxy status", category="all"),
    _kind("v1", "Endpoints", "ep", plural="endpoints"),
    _kind("v1", "ConfigMap", "cm"),
    _kind("v1", "Secret"),
    _kind("v1", "ServiceAccount", "sa", "token"),
    _kind("v1", "Event", "ev"),
    _kind("v1", "PersistentVolume", "pv", "status", namespaced=False),
    _kind("v1", "PersistentVolumeClaim", "pvc", "status"),
    _kind("v1", "LimitRange", "limits"),
    _kind("v1", "ResourceQuota", "quota", "status"),
    _kind("v1", "ReplicationController", "rc", "scale status", category="all"),
    _kind("apps/v1", "Deployment", "deploy", "scale status", category="all"),
    _kind("apps/v1", "ReplicaSet", "rs", "scale status", category="all"),
    _kind("apps/v1", "StatefulSet", "sts", "scale status", category="all"),
    _kind("apps/v1", "DaemonSet", "ds", "status", category="all"),
    _kind("apps/v1", "ControllerRevision"),
    _kind("batch/v1", "Job", "", "status", category="all"),
    _kind("batch/v1", "CronJob", "cj", "status", category="all"),
    _kind("autoscaling/v2", "HorizontalPodAutoscaler", "hpa", "status", category="all"),
    _kind("autoscaling/v1", "HorizontalPodAutoscaler", "hpa", "status", category="all"),
    _kind("events.k8s.io/v1", "Event", "ev"),
    _kind("policy/v1", "PodDisruptionBudget", "pdb", "status"),
    _kind("networking.k8s.io/v1", "NetworkPolicy", "netpol", plural="networkpolicies"),
    _kind("networking.k8s.io/v1", "Ingress", "ing", "status", plural="ingresses"),
    _kind("networking.k8s.io/v1", "IngressClass", plural="ingressclasses", namespaced=False),
    _kind("discovery.k8s.io/v1", "EndpointSlice"),
    _kind("coordination.k8s.io/v1", "Lease"),
    _kind("scheduling.k8s.io/v1", "PriorityClass", "pc", plural="priorityclasses", namespaced=False),
    _kind("rbac.authorization.k8s.io/v1", "Role"),
    _kind("rbac.authorization.k8s.io/v1", "RoleBinding"),
    _kind("rbac.authorization.k8s.io/v1", "ClusterRole", namespaced=False),
    _kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", namespaced=False),
    _kind("storage.k8s.io/v1", "StorageClass", "sc", plural="storageclasses", namespaced=False),
    _kind("storage.k8s.io/v1", "CSIDriver", namespaced=False),
    _kind("storage.k8s.io/v1", "CSINode", namespaced=False),
    _kind("storage.k8s.io/v1", "VolumeAttachment", "", "status", namespaced=False),
    _kind(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "crd crds",
        "status",
        namespaced=False,
        category=_EXTENSION,
    ),
    *(
        _kind("admissionregistration.k8s.io/v1", kind, "", below, plural=plural, namespaced=False, category=_EXTENSION)
        for kind, below, plural in (
            ("MutatingWebhookConfiguration", "", ""),
            ("ValidatingWebhookConfiguration", "", ""),
            ("ValidatingAdmissionPolicy", "status", "validatingadmissionpolicies"),
            ("ValidatingAdmissionPolicyBinding", "", ""),
        )
    ),
    _kind("certificates.k8s.io/v1", "CertificateSigningRequest", "csr", "approval status", namespaced=False),
    _kind("resource.k8s.io/v1", "DeviceClass", plural="deviceclasses", namespaced=False),
    _kind("resource.k8s.io/v1", "ResourceClaim", "", "status"),
    _kind("resource.k8s.io/v1", "ResourceClaimTemplate"),
    _kind("resource.k8s.io/v1", "ResourceSlice", namespaced=False),
    _kind("metrics.k8s.io/v1beta1", "NodeMetrics", plural="nodes", namespaced=False, verbs=_MEASURED),
    _kind("metrics.k8s.io/v1beta1", "PodMetrics", plural="pods", verbs=_MEASURED),
    _kind("authentication.k8s.io/v1", "SelfSubjectReview", namespaced=False, verbs=_REVIEW),
    _kind("authentication.k8s.io/v1", "TokenReview", namespaced=False, verbs=_REVIEW),
    _kind("authorization.k8s.io/v1", "LocalSubjectAccessReview", verbs=_REVIEW),
    _kind("authorization.k8s.io/v1", "SelfSubjectAccessReview", namespaced=False, verbs=_REVIEW),
    _kind("authorization.k8s.io/v1", "SelfSubjectRulesReview", namespaced=False, verbs=_REVIEW),
    _kind("authorization.k8s.io/v1", "SubjectAccessReview", namespaced=False, verbs=_REVIEW),
)


class Kinds:
    """The built-in kinds of a cluster and those of its CustomResourceDefinitions."""

    def __init__(self) -> None:
        self._by_path = {(kind.group, kind.version, kind.plural): kind for kind in _BUILT_IN}
        self._by_name = {kind.kind: kind for kind in reversed(_BUILT_IN)}

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_path.values())

    def named(self, kind: str) -> Kind:
        """Return the kind by its bare name (`Deployment`), in the version that it is stored in. Raises KeyError."""
        return self._by_name[kind]

    def at(self, group: str, version: str, plural: str) -> Kind | None:
        """Return the kind that is served at a path, or None."""
        return self._by_path.get((group, version, plural))

    def of(self, document: Document) -> Kind:
        """Return the kind that a document names. Raises Failure (400) where it is not served."""
        api_version, kind = document.get("apiVersion"), document.get("kind")
        for served in self:
            if served.kind == kind and served.api_version == api_version:
                return served
        group, _, version = str(api_version or "").rpartition("/")
        raise bad_request(f'no kind "{kind}" is registered for version "{group + "/" if group else ""}{version}"')

    def define(self, definition: Document) -> None:
        """Serve the kind of a CustomResourceDefinition, in each of its served versions."""
        self.forget(definition)
        for kind, storage in kinds_of(definition):
            self._by_path[kind.group, kind.version, kind.plural] = kind
            if storage or kind.kind not in self._by_name:
                self._by_name[kind.kind] = kind

    def forget(self, definition: Document) -> None:
        """Stop serving the kind of a CustomResourceDefinition."""
        spec = definition["spec"]
        for path in [
            served for served in self._by_path if (served[0], served[2]) == (spec["group"], spec["names"]["plural"])
        ]:
            kind = self._by_path.pop(path)
            self._by_name.pop(kind.kind, None)


def kinds_of(definition: Document) -> Iterator[tuple[Kind, bool]]:
    """Yield the kinds that a CustomResourceDefinition serves, and whether each is the version that is stored."""
    spec = definition["spec"]
    names = spec["names"]
    for version in spec["versions"]:
        if not version["served"]:
            continue
        kind = Kind(
            group=spec["group"],
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            singular=names.get("singular") or names["kind"].lower(),
            short_names=tuple(names.get("shortNames") or ()),
            namespaced=spec["scope"] == "Namespaced",
            subresources=tuple(sorted(version.get("subresources") or {})),
            categories=tuple(names.get("categories") or ()),
            custom=True,
        )
        yield kind, version["storage"]
