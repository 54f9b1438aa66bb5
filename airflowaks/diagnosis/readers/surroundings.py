"""Reads what surrounds Airflow's workloads in the cluster: policies and autoscalers beside them, DNS, nodes' clocks.

What lies outside Airflow's namespace is left out where the operator lacks the right to read it.
"""

from __future__ import annotations

from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis.facts.kubernetes import Authored
from airflowaks.diagnosis.readers.kubernetes import reachable
from airflowaks.engine.times import parse_time
from airflowaks.errors import KubernetesError, MissingDependency
from airflowaks.kube.client import FIELD_MANAGER, Reference
from airflowaks.kube.pods import conditions, is_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.kube.client import Document, Kube
    from airflowaks.session import Session

POLICIES = (("networking.k8s.io/v1", "NetworkPolicy"), ("cilium.io/v2", "CiliumNetworkPolicy"))
AUTOSCALERS = (("autoscaling/v2", "HorizontalPodAutoscaler"), ("keda.sh/v1alpha1", "ScaledObject"))
# AKS runs CoreDNS with the label of its predecessor: https://learn.microsoft.com/azure/aks/coredns-custom
_DNS = ("kube-system", "k8s-app=kube-dns")
# Each kubelet renews its lease every ten seconds, with its own clock:
# https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
_LEASES = Reference("coordination.k8s.io/v1", "Lease", "", "kube-node-lease")


def surroundings(session: Session, scope: Scope) -> dict[str, Any]:
    """Read the namespace's NetworkPolicies and autoscalers, the pods of the cluster's DNS, and the nodes' clocks."""
    kube = reachable(session)
    return {
        "policies": tuple(authored(kube, scope.namespace, *POLICIES)),
        "autoscalers": tuple(authored(kube, scope.namespace, *AUTOSCALERS)),
        "dns": _dns(kube),
        "clocks": _clocks(kube),
    }


def authored(kube: Kube, namespace: str, *kinds: tuple[str, str]) -> Iterator[Authored]:
    """Yield the objects of kinds, each an API version and a name, that no controller of the cluster owns."""
    for api_version, kind in kinds:
        with suppress(MissingDependency):
            for document in kube.each(api_version, kind, namespace):
                if not document["metadata"].get("ownerReferences"):
                    yield _authored(document)


def _authored(document: Document) -> Authored:
    metadata = document["metadata"]
    ready = conditions(document).get("Ready", {})
    managers = [entry["manager"] for entry in metadata.get("managedFields", ()) if not entry.get("subresource")]
    return Authored(
        kind=document["kind"],
        name=metadata["name"],
        spec=document.get("spec") or {},
        by=next(iter(managers), ""),
        at=metadata.get("creationTimestamp", ""),
        ours=FIELD_MANAGER in managers,
        problem=f"{ready.get('reason', '')}: {ready.get('message', '')}" if ready.get("status") == "False" else "",
    )


def _dns(kube: Kube) -> tuple[int, int] | None:
    namespace, labels = _DNS
    with suppress(KubernetesError):
        pods = [is_ready(pod) for pod in kube.each("v1", "Pod", namespace, labels=labels)]
        return (sum(pods), len(pods)) if pods else None
    return None


def _clocks(kube: Kube) -> dict[str, float]:
    """Return how many seconds the clock of each node is ahead of the API's, from the last renewal of its lease.

    A lease that is not renewed any more is no clock: the node is then not ready.
    """
    with suppress(KubernetesError, KeyError):  # a proxy may take the date off
        answer = kube.send("GET", kube.path(_LEASES))
        now = parsedate_to_datetime(answer.headers["Date"])
        return {
            lease["metadata"]["name"]: (parse_time(renewed) - now).total_seconds()
            for lease in answer.json()["items"]
            if (renewed := lease.get("spec", {}).get("renewTime"))
        }
    return {}
