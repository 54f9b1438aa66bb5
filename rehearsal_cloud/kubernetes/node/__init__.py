"""The node of a cluster: a kubelet whose containers are processes and whose volumes are folders.

`node` watches for pods, `machine` is what they share, `pod` runs one of them in its `sandbox`: its `container`
processes (`runtime`, `shim`), `volumes`, `network`, `probes`. `streams` serves logs, exec and forwarded ports.
"""

from rehearsal_cloud.kubernetes.node.node import Node

__all__ = ["Node"]
