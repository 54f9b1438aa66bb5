"""What every namespace has from the start: the service account `default` and the cluster's root certificate."""

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
    """Keeps one object of the second watched kind, of one name, in each namespace that is not being deleted."""

    object_name: ClassVar[str]

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the namespace, or that of the object."""
        metadata = event.document["metadata"]
        if event.document["kind"] == "Namespace":
            yield (metadata["name"],)
        elif metadata["name"] == self.object_name:
            yield (metadata["namespace"],)

    def _lacks(self, namespace: str) -> bool:
        there = self.objects.get("Namespace", namespace)
        lives = there is not None and "deletionTimestamp" not in there["metadata"]
        return lives and self.objects.get(self.watches[1], self.object_name, namespace) is None


class ServiceAccounts(_InEveryNamespace):
    """Makes the service account of pods that name none."""

    component = "serviceaccount-controller"
    watches = ("Namespace", "ServiceAccount")
    object_name = "default"

    async def reconcile(self, key: Key) -> None:
        """Make the service account where it is missing."""
        (namespace,) = key
        if self._lacks(namespace):
            metadata = {"name": self.object_name, "namespace": namespace}
            self.objects.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


class RootCertificates(_InEveryNamespace):
    """Publishes the certificate by which pods know the API server."""

    component = "root-ca-certificate-publisher"
    watches = ("Namespace", "ConfigMap")
    object_name = _ROOT_CA

    async def reconcile(self, key: Key) -> None:
        """Make the config map, or make it right again."""
        (namespace,) = key
        data = {"ca.crt": self.cluster.cloud.home.ca_file.read_text()}
        if self._lacks(namespace):
            described = {"kubernetes.io/description": _DESCRIPTION}
            metadata = {"name": _ROOT_CA, "namespace": namespace, "annotations": described}
            self.objects.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
            return
        known = self.objects.get("ConfigMap", _ROOT_CA, namespace)
        if known is not None and known.get("data") != data:
            self.objects.update({**known, "data": data})
