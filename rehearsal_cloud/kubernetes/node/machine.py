"""The machine of all of a cluster's nodes: the resources that its pods share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.addons.secrets_store import SecretsStore
from rehearsal_cloud.kubernetes.node.images import NodeImages
from rehearsal_cloud.kubernetes.node.network import Network

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.auth.service_tokens import ServiceTokens
    from rehearsal_cloud.kubernetes.state import ClusterState

_ADDRESS = "10.224.0.4"
"""The first address that AKS gives to a node in a network of its own."""


class Machine:
    """A node's address, folder, network, images and secrets driver."""

    def __init__(self, cluster: ClusterState, tokens: ServiceTokens) -> None:
        self.cluster = cluster
        self.tokens = tokens
        self.address: str = _ADDRESS
        self.pods_folder: Path = cluster.folder / "pods"
        self.pods_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.network = Network(cluster)
        self.images = NodeImages(cluster)
        self.secrets_store = SecretsStore(cluster, tokens)

    @property
    def allocatable(self) -> Document:
        """Return the node's allocatable resources."""
        nodes = self.cluster.objects.list("Node")
        allocatable: Document = (nodes[0].get("status") or {}).get("allocatable") or {} if nodes else {}
        return allocatable

    @property
    def silent(self) -> bool:
        """Tell whether the kubelet posts no status."""
        return self.cluster.cloud.faults.breakdown("silence") is not None
