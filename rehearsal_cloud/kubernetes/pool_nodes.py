"""The nodes of a cluster's pools: named, labelled and sized like the machines of AKS's scale sets.

Names end in the machine's instance ID, in base 36. A new machine has a higher ID than those of its pool; a machine that
is reimaged keeps its name, and its node is another object.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects.lifecycle import now

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.state import ClusterState

KUBELET_PORT = 10250
WELL = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)
"""What a kubelet says of a machine that is well: condition, state, reason and message."""
_PODS = 110
_GIB_PER_CORE = {"B": 4, "D": 4, "E": 8, "F": 2}
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_MODE = "kubernetes.azure.com/mode"
_IMAGE = "kubernetes.azure.com/node-image-version"


def pool_of(node: Document) -> str:
    """Return the name of a node's pool, empty for a node of somebody else."""
    return str((node["metadata"].get("labels") or {}).get("agentpool", ""))


def nodes_of(cluster: ClusterState, pool: Document) -> list[Document]:
    """Return the nodes of a pool, the oldest machine first."""
    nodes = [node for node in cluster.objects.list("Node") if pool_of(node) == pool["name"]]
    return sorted(nodes, key=lambda node: str(node["metadata"]["name"]))


def fill(cluster: ClusterState) -> None:
    """Add the nodes that pools have too few of, and give the others their pool's mode and taints."""
    for pool in cluster.document["properties"]["agentPoolProfiles"]:
        for node in nodes_of(cluster, pool):
            _follow(cluster, pool, node)
        for _ in range(len(nodes_of(cluster, pool)), pool.get("count") or 0):
            add(cluster, pool)


def _follow(cluster: ClusterState, pool: Document, node: Document) -> None:
    """Write the pool's mode and taints to a node; the taints of others stay."""
    metadata, spec = node["metadata"], node["spec"]
    taints = spec.get("taints") or []
    missing = [taint for taint in map(_taint, pool.get("nodeTaints") or ()) if taint not in taints]
    if missing or metadata["labels"].get(_MODE) != _mode(pool):
        labels = {**metadata["labels"], _MODE: _mode(pool)}
        spec = {**spec, "taints": [*taints, *missing]} if missing else spec
        cluster.objects.update({**node, "metadata": {**metadata, "labels": labels}, "spec": spec})


def is_outdated(node: Document, pool: Document) -> bool:
    """Tell whether a node has another version or image than its pool."""
    version = f"v{pool['currentOrchestratorVersion']}"
    image = node["metadata"]["labels"].get(_IMAGE)
    return bool(node["status"]["nodeInfo"]["kubeletVersion"] != version or image != pool["nodeImageVersion"])


def template(cluster: ClusterState, pool: Document) -> Document:
    """Return the node that a new machine of the pool would have."""
    names = [node["metadata"]["name"] for node in nodes_of(cluster, pool)]
    index = 1 + max((int(name.rpartition("vmss")[2], 36) for name in names), default=-1)
    suffix = int(cluster.document["properties"]["resourceUID"][:8], 16) % 10**8
    return _node(cluster, pool, f"aks-{pool['name']}-{suffix:08d}-vmss{_base36(index):0>6}", index)


def add(cluster: ClusterState, pool: Document) -> Document:
    """Create the node of a new machine of the pool, ready for pods."""
    return _create(cluster, template(cluster, pool))


def reimage(cluster: ClusterState, pool: Document, node: Document) -> Document:
    """Replace the node of a machine: the pods on it are gone, and it has the pool's version and image."""
    name = node["metadata"]["name"]
    remove(cluster, name)
    return _create(cluster, _node(cluster, pool, name, int(name.rpartition("vmss")[2], 36)))


def remove(cluster: ClusterState, name: str) -> None:
    """Delete the node of a machine that is gone, and with it its pods: the kubelet sees that."""
    cluster.objects.delete("Node", name)


def resize(cluster: ClusterState, pool: Document, count: int) -> None:
    """Show a pool's new size in its resource and in its cluster's."""
    resource = cluster.document
    child = cluster.cloud.store.get("resources", f"{resource['id']}/agentPools/{pool['name']}".lower())
    if child is not None:
        cluster.cloud.keep({**child, "properties": {**child["properties"], "count": count}})
    for profile in resource["properties"]["agentPoolProfiles"]:
        if profile["name"] == pool["name"]:
            profile["count"] = count
    cluster.cloud.keep(resource)


def _create(cluster: ClusterState, node: Document) -> Document:
    created = cluster.objects.create(node, manager="kube-apiserver")
    return cluster.objects.update_status({**created, "status": node["status"]}, manager="kubelet")


def _node(cluster: ClusterState, pool: Document, name: str, index: int) -> Document:
    properties = cluster.document["properties"]
    labels = {
        "agentpool": pool["name"],
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.azure.com/agentpool": pool["name"],
        "kubernetes.azure.com/cluster": properties["nodeResourceGroup"],
        _MODE: _mode(pool),
        _IMAGE: pool["nodeImageVersion"],
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
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec, "status": _status(pool, name)}


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


def _zone(location: str, pool: Document, index: int) -> str:
    zones = pool.get("availabilityZones") or []
    return f"{location}-{zones[index % len(zones)]}" if zones else "0"


def _mode(pool: Document) -> str:
    return str(pool.get("mode") or "User").lower()


def _taint(text: str) -> Document:
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "effect": effect} | ({"value": value} if value else {})


def _status(pool: Document, name: str) -> Document:
    """Return a machine's properties as its kubelet reports them, and that it is ready."""
    version = f"v{pool['currentOrchestratorVersion']}"
    info = {
        "architecture": "amd64",
        "bootID": "",
        "containerRuntimeVersion": "containerd://2.1.4",
        "kernelVersion": os.uname().release,
        "kubeProxyVersion": version,
        "kubeletVersion": version,
        "machineID": "",
        "operatingSystem": "linux",
        "osImage": "Ubuntu 22.04.5 LTS",
        "systemUUID": "",
    }
    addresses = [{"type": "InternalIP", "address": "10.224.0.4"}, {"type": "Hostname", "address": name}]
    return {
        **_resources(pool["vmSize"]),
        "addresses": addresses,
        "conditions": [_condition(*row) for row in WELL],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        "nodeInfo": info,
    }


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
