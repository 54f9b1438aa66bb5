"""The drain of a node, as AKS and the autoscaler empty it: cordon it, evict its pods, wait until they have ended.

https://kubernetes.io/docs/tasks/administer-cluster/safely-drain-node/
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.controllers import pods
from rehearsal_cloud.kubernetes.controllers.disruption import evict
from rehearsal_cloud.kubernetes.controllers.metadata import key_of
from rehearsal_cloud.kubernetes.controllers.owners import controller_of
from rehearsal_cloud.kubernetes.failures import Failure

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.recorder import Recorder
    from rehearsal_cloud.kubernetes.state import ClusterState

_LOOK_SECONDS = 0.5


class Undrained(Exception):
    """A node's pods did not end in time; the message is that of the drain of AKS."""


def pods_on(cluster: ClusterState, node: str) -> list[Document]:
    """Return the pods on a node which a drain evicts: all but those of DaemonSets."""
    listed = cluster.objects.list("Pod", fields=f"spec.nodeName={node}")
    return [pod for pod in listed if (controller_of(pod) or {}).get("kind") != "DaemonSet"]


def cordon(cluster: ClusterState, node: str, *, unschedulable: bool = True) -> None:
    """Let no more pods on a node, or let them again."""
    document = cluster.objects.get("Node", node)
    if document is not None:
        cluster.objects.update({**document, "spec": {**document["spec"], "unschedulable": unschedulable}})


async def drain(cluster: ClusterState, node: str, seconds: float, recorder: Recorder | None = None) -> None:
    """Empty a node, with events of an upgrade where there is a `recorder`.

    Raises Undrained, with the node still cordoned, where pods are left after `seconds`.

    The texts: https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/create-upgrade-delete/error-code-poddrainfailure
    and https://stackoverflow.com/questions/74376920 ("pod termination grace period 15h0m0s was greater than remaining
    per node drain timeout"), whose beginning is believed.
    """
    cordon(cluster, node)
    document = cluster.objects.get("Node", node)
    if recorder and document:
        recorder.normal(document, "Drain", f"Draining node: {node}")
    await empty(cluster, node, seconds, recorder)


async def empty(cluster: ClusterState, node: str, seconds: float, recorder: Recorder | None = None) -> None:
    """Evict a node's pods and wait until they have ended. Raises Undrained where pods are left after `seconds`."""
    document = cluster.objects.get("Node", node)
    deadline = time.monotonic() + seconds
    while left := pods_on(cluster, node):
        blocked = ""
        for pod in left:
            try:
                if not pods.is_terminating(pod):
                    evict(cluster.objects, pod)
            except Failure as failure:
                name = pod["metadata"]["name"]
                blocked = (
                    f"Drain node {node} failed when evicting pod {name} failed with Too Many Requests error. This is"
                    " often caused by a restrictive Pod Disruption Budget (PDB) policy. See"
                    f" https://aka.ms/aks/debugdrainfailures. Original error: {failure.message}."
                )
                if recorder and document:
                    text = f"Eviction blocked by Too Many Requests (usually a pdb): {name}"
                    recorder.warning(document, "Drain", text)
        if time.monotonic() > deadline:
            raise Undrained(blocked or _unended(node, left[0]))
        await asyncio.sleep(_LOOK_SECONDS)


def _unended(node: str, pod: Document) -> str:
    name, grace = "/".join(key_of(pod)), pod["spec"].get("terminationGracePeriodSeconds", 30)
    hours, minutes = grace // 3600, grace // 60 % 60
    period = f"{hours}h{minutes}m{grace % 60}s" if hours else f"{minutes}m{grace % 60}s" if minutes else f"{grace}s"
    return (
        f"Drain of {node} did not complete pods [{pod['metadata']['name']}:Pod {name} still in state Running on node"
        f" {node}, pod termination grace period {period} was greater than remaining per node drain timeout]. See"
        " https://aka.ms/aks/debugdrainfailures"
    )
