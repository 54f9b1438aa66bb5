"""The default objects of every namespace: the service account `default` and the cluster's root certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers.controller import Controller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_ROOT_CA = "kube-root-ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the"
    " internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes"
    " clusters."
)


class _InEveryNamespace(Controller):
    """Keeps one object of a fixed kind and name in each namespace that is not being deleted."""

    object_name: ClassVar[str]

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the namespace, or that of the object."""
        metadata = event.document["metadata"]
        if event.document["kind"] == "Namespace":
            yield (metadata["name"],)
        elif metadata["name"] == self.object_name:
            yield (metadata["namespace"],)

    def _lacks(self, namespace: str) -> bool:
        live_namespace = self.objects.get("Namespace", namespace)
        lives = live_namespace is not None and "deletionTimestamp" not in live_namespace["metadata"]
        return lives and self.objects.get(self.watches[1], self.object_name, namespace) is None


class ServiceAccounts(_InEveryNamespace):
    """Creates the service account that pods use by default."""

    component = "serviceaccount-controller"
    watches = ("Namespace", "ServiceAccount")
    object_name = "default"

    async def reconcile(self, key: Key) -> None:
        """Create the service account where it is missing."""
        (namespace,) = key
        if self._lacks(namespace):
            metadata = {"name": self.object_name, "namespace": namespace}
            self.objects.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


class RootCertificates(_InEveryNamespace):
    """Publishes the CA certificate with which pods verify the API server."""

    component = "root-ca-certificate-publisher"
    watches = ("Namespace", "ConfigMap")
    object_name = _ROOT_CA

    async def reconcile(self, key: Key) -> None:
        """Create the config map, or restore its content."""
        (namespace,) = key
        data = {"ca.crt": self.cluster.cloud.home.ca_file.read_text()}
        if self._lacks(namespace):
            described = {"kubernetes.io/description": _DESCRIPTION}
            metadata = {"name": _ROOT_CA, "namespace": namespace, "annotations": described}
            self.objects.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
            return
        existing = self.objects.get("ConfigMap", _ROOT_CA, namespace)
        if existing is not None and existing.get("data") != data:
            self.objects.update({**existing, "data": data})
