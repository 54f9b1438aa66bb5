"""Defaults of the core group without pods: services, secrets, volumes, endpoints."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.defaults.pods import fill

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_AFFINITY_SECONDS = 10_800


def service(document: Document) -> None:
    """Set a service's type, affinity, policies and target ports. Addresses are allocated later."""
    spec = document.setdefault("spec", {})
    fill(spec, sessionAffinity="None", type="ClusterIP")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        spec["sessionAffinityConfig"]["clientIP"].setdefault("timeoutSeconds", _AFFINITY_SECONDS)
    for port in spec.get("ports", ()):
        fill(port, protocol="TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port["port"]
    if spec["type"] in ("NodePort", "LoadBalancer") or spec.get("externalIPs"):
        fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] != "ExternalName":
        fill(spec, internalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        fill(spec, allocateLoadBalancerNodePorts=True)
        for ingress in document.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
            if ingress.get("ip"):
                fill(ingress, ipMode="VIP")


def secret(document: Document) -> None:
    """Set a secret's type, and move `stringData` into `data`."""
    fill(document, type="Opaque")
    texts = document.pop("stringData", None)
    if texts:
        encoded = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
        document["data"] = document.get("data", {}) | encoded


def persistent_volume(document: Document) -> None:
    """Set a volume's reclaim policy, mode and phase."""
    fill(document.setdefault("spec", {}), persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")
    fill(document.setdefault("status", {}), phase="Pending")


def persistent_volume_claim(document: Document) -> None:
    """Set a claim's volume mode and phase."""
    fill(document.setdefault("spec", {}), volumeMode="Filesystem")
    fill(document.setdefault("status", {}), phase="Pending")


def endpoints(document: Document) -> None:
    """Set the protocol of endpoints' ports."""
    for subset in document.get("subsets", ()):
        for port in subset.get("ports", ()):
            fill(port, protocol="TCP")


def endpoint_slice(document: Document) -> None:
    """Set the name and the protocol of an endpoint slice's ports."""
    for port in document.get("ports") or ():
        port.setdefault("name", "")
        fill(port, protocol="TCP")


def limit_range(document: Document) -> None:
    """Set the default limits and requests of containers from the other values."""
    for item in document.get("spec", {}).get("limits", ()):
        if item.get("type") == "Container":
            limits = {**item.get("max", {}), **item.get("default", {})}
            requests = {**item.get("min", {}), **limits, **item.get("defaultRequest", {})}
            item.update({"default": limits} if limits else {}, **({"defaultRequest": requests} if requests else {}))
