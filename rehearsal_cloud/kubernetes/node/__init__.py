"""The node of a rehearsal's cluster: a kubelet whose containers are processes and whose volumes are folders."""

from rehearsal_cloud.kubernetes.node.node import Node

__all__ = ["Node"]
