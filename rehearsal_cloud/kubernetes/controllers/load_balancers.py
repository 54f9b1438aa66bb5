"""The service controller: gives services of type LoadBalancer an address, as Azure's cloud controller does.

https://learn.microsoft.com/azure/aks/load-balancer-standard
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of, key_of, with_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
_INTERNAL = "service.beta.kubernetes.io/azure-load-balancer-internal"
_WANTED_ADDRESS = "service.beta.kubernetes.io/azure-load-balancer-ipv4"
_SECONDS = 20.0
_PUBLIC = ipaddress.IPv4Network("198.18.0.0/15")
"""Addresses that nobody has on the Internet (RFC 2544)."""
_INSIDE = ipaddress.IPv4Network("10.224.1.0/24")
"""A part of the subnet of AKS's nodes."""


class LoadBalancers(Controller):
    """Gives services a load balancer's address and releases it."""

    component = "service-controller"
    watches: ClassVar[tuple[str, ...]] = ("Service",)

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the service."""
        yield key_of(event.document)

    async def reconcile(self, key: Key) -> None:
        """Give the service an address, or release it."""
        namespace, name = key
        service = self.objects.get("Service", name, namespace)
        if service is None:
            return
        metadata = service["metadata"]
        has = bool(((service.get("status") or {}).get("loadBalancer") or {}).get("ingress"))
        wants = service["spec"].get("type") == "LoadBalancer" and "deletionTimestamp" not in metadata
        finalizers = metadata.get("finalizers") or []
        if wants and not has:
            if _FINALIZER not in finalizers:
                service = self.objects.update(with_metadata(service, finalizers=[*finalizers, _FINALIZER]))
            self.recorder.normal(service, "EnsuringLoadBalancer", "Ensuring load balancer")
            await asyncio.sleep(self.cluster.cloud.settings.scaled(_SECONDS))
            service = self.objects.get("Service", name, namespace)
            if service is not None:
                ingress = {"ip": self._address(service), "ipMode": "VIP"}
                self.objects.update_status({**service, "status": {"loadBalancer": {"ingress": [ingress]}}})
                self.recorder.normal(service, "EnsuredLoadBalancer", "Ensured load balancer")
        elif not wants and _FINALIZER in finalizers:
            self.recorder.normal(service, "DeletingLoadBalancer", "Deleting load balancer")
            service = self.objects.update_status({**service, "status": {"loadBalancer": {}}})
            self.recorder.normal(service, "DeletedLoadBalancer", "Deleted load balancer")
            kept = [item for item in finalizers if item != _FINALIZER]
            self.objects.update(with_metadata(service, finalizers=kept))

    def _address(self, service: Document) -> str:
        annotations = annotations_of(service)
        requested = annotations.get(_WANTED_ADDRESS) or service["spec"].get("loadBalancerIP")
        if requested:
            return str(requested)
        network = _INSIDE if annotations.get(_INTERNAL) == "true" else _PUBLIC
        return str(network[1 + secrets.randbelow(network.num_addresses - 2)])
