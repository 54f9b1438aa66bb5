"""The initial objects of a new AKS cluster: namespaces, nodes, storage classes, add-ons.

https://learn.microsoft.com/azure/aks/concepts-storage#storage-classes
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rehearsal_cloud.kubernetes.objects.lifecycle import now

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
_PODS = 110
KUBELET_PORT = 10250
_GIB_PER_CORE = {"B": 4, "D": 4, "E": 8, "F": 2}
WELL = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)
"""What a kubelet says of a machine that is well: condition, state, reason and message."""
_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def bootstrap(cluster: ClusterState) -> None:
    """Create missing objects, and update the nodes and add-ons from the cluster's document. It can run repeatedly."""
    objects = cluster.objects
    for document in (*_first(cluster), *_storage(), *_addons(cluster), *_nodes(cluster)):
        _make(objects, document)
    for node in _nodes(cluster):
        _report(objects, node, cluster.version)


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


def _nodes(cluster: ClusterState) -> Iterator[Document]:
    """Yield the nodes of all pools, named like the machines of AKS's scale sets."""
    properties = cluster.document["properties"]
    suffix = properties["resourceUID"][:8]
    for pool in properties["agentPoolProfiles"]:
        for index in range(pool.get("count") or 0):
            name = f"aks-{pool['name']}-{int(suffix, 16) % 10**8:08d}-vmss{index:06d}"
            labels = {
                "agentpool": pool["name"],
                "beta.kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
                "kubernetes.azure.com/agentpool": pool["name"],
                "kubernetes.azure.com/cluster": properties["nodeResourceGroup"],
                "kubernetes.azure.com/mode": str(pool.get("mode") or "User").lower(),
                "kubernetes.azure.com/role": "agent",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": pool["vmSize"],
                "topology.kubernetes.io/region": cluster.document["location"],
                "topology.kubernetes.io/zone": _zone(cluster.document["location"], pool, index),
                **(pool.get("nodeLabels") or {}),
            }
            spec: dict[str, Any] = {"providerID": f"azure://{cluster.document['id']}/{name}"}
            if pool.get("nodeTaints"):
                spec["taints"] = [_taint(text) for text in pool["nodeTaints"]]
            yield _document("v1", "Node", name, labels, spec=spec)


def _document(
    api_version: str, kind: str, name: str, labels: dict[str, str] | None = None, namespace: str = "", **parts: Any
) -> Document:
    metadata: Document = {"name": name} | ({"namespace": namespace} if namespace else {})
    metadata |= {"labels": labels} if labels else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}


def _zone(location: str, pool: Document, index: int) -> str:
    zones = pool.get("availabilityZones") or []
    return f"{location}-{zones[index % len(zones)]}" if zones else "0"


def _taint(text: str) -> Document:
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "effect": effect} | ({"value": value} if value else {})


def _report(objects: Objects, node: Document, version: str) -> None:
    """Report the node's properties and its Ready condition."""
    kept = objects.get("Node", node["metadata"]["name"])
    if kept is None or (kept.get("status") or {}).get("nodeInfo", {}).get("kubeletVersion") == f"v{version}":
        return
    size = node["metadata"]["labels"]["node.kubernetes.io/instance-type"]
    info = {
        "architecture": "amd64",
        "bootID": "",
        "containerRuntimeVersion": "containerd://2.1.4",
        "kernelVersion": os.uname().release,
        "kubeProxyVersion": f"v{version}",
        "kubeletVersion": f"v{version}",
        "machineID": "",
        "operatingSystem": "linux",
        "osImage": "Ubuntu 22.04.5 LTS",
        "systemUUID": "",
    }
    addresses = [
        {"type": "InternalIP", "address": "10.224.0.4"},
        {"type": "Hostname", "address": kept["metadata"]["name"]},
    ]
    status = {
        **(kept.get("status") or {}),
        **_resources(size),
        "addresses": addresses,
        "conditions": [_condition(*row) for row in WELL],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        "nodeInfo": info,
    }
    objects.update_status({**kept, "status": status}, manager="kubelet")


def _condition(kind: str, state: str, reason: str, message: str) -> Document:
    return {
        "type": kind,
        "status": state,
        "lastHeartbeatTime": now(),
        "lastTransitionTime": now(),
        "reason": reason,
        "message": message,
    }


def _resources(size: str) -> Document:
    """Return the capacity of a machine size, and AKS's allocatable part of it."""
    match = re.match(r"Standard_([A-Z])[A-Z]*(\d+)", size, re.IGNORECASE)
    family, cores = (match.group(1).upper(), int(match.group(2))) if match else ("D", 4)
    memory = cores * _GIB_PER_CORE.get(family, 4) * 1024 * 1024
    reserved = min(memory // 4, (20 * _PODS + 50) * 1024) + 100 * 1024
    fixed = {"ephemeral-storage": "129886128Ki", "pods": str(_PODS)}
    return {
        "capacity": {**fixed, "cpu": str(cores), "memory": f"{memory}Ki"},
        "allocatable": {**fixed, "cpu": f"{cores * 1000 - (60 + 20 * cores)}m", "memory": f"{memory - reserved}Ki"},
    }
