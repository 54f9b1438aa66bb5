"""The initial objects of a new AKS cluster: namespaces, nodes, storage classes, add-ons.

https://learn.microsoft.com/azure/aks/concepts-storage#storage-classes
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rehearsal_cloud.kubernetes import pool_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects
    from rehearsal_cloud.kubernetes.state import ClusterState

_DEFINITIONS = Path(__file__).parent / "addons" / "crds"
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_ADDON_NAME = "addonmanager.kubernetes.io/mode"
_CLASSES: tuple[tuple[str, str, str, str], ...] = (
    ("azurefile", "file.csi.azure.com", "skuName=Standard_LRS", "Immediate"),
    ("azurefile-csi", "file.csi.azure.com", "skuName=Standard_LRS", "Immediate"),
    ("azurefile-premium", "file.csi.azure.com", "skuName=Premium_LRS", "Immediate"),
    ("azurefile-csi-premium", "file.csi.azure.com", "skuName=Premium_LRS", "Immediate"),
    ("default", "disk.csi.azure.com", "skuname=StandardSSD_LRS", "WaitForFirstConsumer"),
    ("managed", "disk.csi.azure.com", "skuname=StandardSSD_LRS", "WaitForFirstConsumer"),
    ("managed-csi", "disk.csi.azure.com", "skuname=StandardSSD_LRS", "WaitForFirstConsumer"),
    ("managed-premium", "disk.csi.azure.com", "skuname=Premium_LRS", "WaitForFirstConsumer"),
    ("managed-csi-premium", "disk.csi.azure.com", "skuname=Premium_LRS", "WaitForFirstConsumer"),
)
_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def bootstrap(cluster: ClusterState) -> None:
    """Create missing objects, nodes and add-ons from the cluster's document. It can run repeatedly."""
    objects = cluster.objects
    for document in (*_first(cluster), *_storage(), *_addons(cluster)):
        _make(objects, document)
    pool_nodes.fill(cluster)


def _make(objects: Objects, document: Document) -> None:
    metadata = document["metadata"]
    if objects.get(document["kind"], metadata["name"], metadata.get("namespace", "")) is None:
        objects.create(document, manager="kube-apiserver")


def _first(cluster: ClusterState) -> Iterator[Document]:
    for name in _NAMESPACES:
        yield _document("v1", "Namespace", name)
    for name, value in _PRIORITIES.items():
        yield _document("scheduling.k8s.io/v1", "PriorityClass", name, value=value)
    labels = {"component": "apiserver", "provider": "kubernetes"}
    service = _document("v1", "Service", "kubernetes", labels, namespace="default")
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": cluster.port}
    service["spec"] = {"clusterIP": "10.0.0.1", "type": "ClusterIP", "ports": [port]}
    yield service


def _storage() -> Iterator[Document]:
    for driver in ("disk.csi.azure.com", "file.csi.azure.com"):
        spec = {
            "attachRequired": driver.startswith("disk"),
            "podInfoOnMount": driver.startswith("file"),
            "volumeLifecycleModes": ["Persistent", *(["Ephemeral"] if driver.startswith("file") else [])],
        }
        yield _document("storage.k8s.io/v1", "CSIDriver", driver, spec=spec)
    for name, provisioner, parameter, binding in _CLASSES:
        labels = {_ADDON_NAME: "EnsureExists", "kubernetes.io/cluster-service": "true"}
        key, _, value = parameter.partition("=")
        storage_class = _document(
            "storage.k8s.io/v1",
            "StorageClass",
            name,
            labels,
            provisioner=provisioner,
            parameters={key: value},
            reclaimPolicy="Delete",
            volumeBindingMode=binding,
            allowVolumeExpansion=True,
        )
        if provisioner.startswith("file"):
            storage_class["mountOptions"] = ["mfsymlinks", "actimeo=30", "nosharesock"]
        if name == "default":
            storage_class["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
        yield storage_class


def _addons(cluster: ClusterState) -> Iterator[Document]:
    """Yield the definitions and drivers of the enabled add-ons."""
    properties = cluster.document["properties"]
    profiles = {name.lower(): profile for name, profile in (properties.get("addonProfiles") or {}).items()}
    if (profiles.get("azurekeyvaultsecretsprovider") or {}).get("enabled"):
        yield from _definitions("secretproviderclass")
        spec = {"attachRequired": False, "podInfoOnMount": True, "volumeLifecycleModes": ["Ephemeral"]}
        spec["tokenRequests"] = [{"audience": "api://AzureADTokenExchange"}]
        yield _document("storage.k8s.io/v1", "CSIDriver", "secrets-store.csi.k8s.io", spec=spec)
    if ((properties.get("workloadAutoScalerProfile") or {}).get("keda") or {}).get("enabled"):
        yield from _definitions("scaledobject")
        yield from _definitions("triggerauthentication")


def _definitions(prefix: str) -> Iterator[Document]:
    for file in sorted(_DEFINITIONS.glob(f"{prefix}*.yaml")):
        yield yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def _document(
    api_version: str, kind: str, name: str, labels: dict[str, str] | None = None, namespace: str = "", **parts: Any
) -> Document:
    metadata: Document = {"name": name} | ({"namespace": namespace} if namespace else {})
    metadata |= {"labels": labels} if labels else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}
