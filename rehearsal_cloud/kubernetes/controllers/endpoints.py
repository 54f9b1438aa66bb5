"""The endpoints controllers: the addresses of the pods behind a service, as Endpoints and as EndpointSlices.

After https://github.com/kubernetes/kubernetes/tree/master/pkg/controller/endpoint and .../endpointslice
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers import pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import key_of, labels_of
from rehearsal_cloud.kubernetes.controllers.owners import controlled_by, reference_to
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_HEADLESS = "service.kubernetes.io/headless"
_SERVICE_NAME = "kubernetes.io/service-name"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_SLICE_CONTROLLER = "endpointslice-controller.k8s.io"


class _Backends(Controller):
    """What both have in common: services, and the pods that their selectors choose."""

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the service, those that choose the pod or chose it, or the one that the endpoints are of."""
        document = event.document
        namespace = document["metadata"]["namespace"]
        if document["kind"] == "Pod":
            known = [labels_of(one) for one in (document, event.previous) if one is not None]
            for service in self.objects.list("Service", namespace):
                selector = service["spec"].get("selector")
                if selector and any(matches_selector({"matchLabels": selector}, labels) for labels in known):
                    yield key_of(service)
        elif document["kind"] == "EndpointSlice":
            yield namespace, labels_of(document).get(_SERVICE_NAME, "")
        else:
            yield key_of(document)

    def _service(self, key: Key) -> Document | None:
        namespace, name = key
        service = self.objects.get("Service", name, namespace)
        return service if service is None or "deletionTimestamp" not in service["metadata"] else None

    def _pods(self, service: Document) -> list[Document]:
        selector = {"matchLabels": service["spec"]["selector"]}
        chosen = self.objects.list("Pod", service["metadata"]["namespace"])
        chosen = [pod for pod in chosen if matches_selector(selector, labels_of(pod)) and not pods.is_done(pod)]
        return [pod for pod in chosen if (pod.get("status") or {}).get("podIP")]


class Endpoints(_Backends):
    """Keeps the Endpoints of each service that has a selector."""

    component = "endpoint-controller"
    watches: ClassVar[tuple[str, ...]] = ("Service", "Pod", "Endpoints")

    async def reconcile(self, key: Key) -> None:
        """Write the service's Endpoints where they differ; a service that is gone takes its own with it."""
        namespace, name = key
        service = self._service(key)
        known = self.objects.get("Endpoints", name, namespace)
        if service is None:
            if known is not None:
                self.objects.delete("Endpoints", name, namespace, uid=known["metadata"]["uid"])
            return
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return
        subsets = _subsets(service, self._pods(service))
        headless = {_HEADLESS: ""} if service["spec"].get("clusterIP") == "None" else {}
        labels = labels_of(service) | {"endpoints.kubernetes.io/managed-by": "endpoint-controller"} | headless
        if known is None:
            metadata = {"name": name, "namespace": namespace, "labels": labels}
            made = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
            self.objects.create(made | ({"subsets": subsets} if subsets else {}))
        elif (known.get("subsets") or []) != subsets or labels_of(known) != labels:
            self.objects.update({**known, "metadata": {**known["metadata"], "labels": labels}, "subsets": subsets})


class EndpointSlices(_Backends):
    """Keeps the EndpointSlices of each service that has a selector: one for each set of target ports."""

    component = "endpoint-slice-controller"
    watches: ClassVar[tuple[str, ...]] = ("Service", "Pod", "EndpointSlice")

    async def reconcile(self, key: Key) -> None:
        """Write, make and delete the service's slices where they differ; the garbage collector takes orphaned ones."""
        service = self._service(key)
        if service is None or not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return
        metadata = service["metadata"]
        known = [
            one for one in self.objects.list("EndpointSlice", metadata["namespace"]) if controlled_by(one, service)
        ]
        for ports, chosen in _by_ports(service, self._pods(service), empty=True):
            wanted = {"ports": ports, "endpoints": [_endpoint(service, pod) for pod in chosen]}
            same = next((one for one in known if (one.get("ports") or []) == ports), None)
            if same is None:
                self.objects.create(_slice(service) | wanted)
                continue
            known.remove(same)
            if (same.get("endpoints") or []) != wanted["endpoints"]:
                self.objects.update({**same, **wanted})
        for one in known:
            self.objects.delete("EndpointSlice", one["metadata"]["name"], metadata["namespace"])


def _subsets(service: Document, chosen: list[Document]) -> list[Document]:
    subsets = []
    every = bool(service["spec"].get("publishNotReadyAddresses"))
    living = [pod for pod in chosen if every or not pods.is_terminating(pod)]
    for ports, group in _by_ports(service, living, empty=False):
        ready = [_address(service, pod) for pod in group if every or pods.is_ready(pod)]
        others = [_address(service, pod) for pod in group if not every and not pods.is_ready(pod)]
        subset: Document = {"addresses": ready} if ready else {}
        subset |= {"notReadyAddresses": others} if others else {}
        subsets.append(subset | ({"ports": [_shown(port) for port in ports]} if ports else {}))
    return subsets


def _by_ports(service: Document, chosen: list[Document], *, empty: bool) -> list[tuple[list[Document], list[Document]]]:
    """Group pods by the ports that the service's target ports are in them; a name may differ from pod to pod."""
    groups: dict[str, list[Document]] = {}
    for pod in sorted(chosen, key=lambda one: (one["status"]["podIP"], one["metadata"]["uid"])):
        groups.setdefault(json.dumps(_ports(service, pod)), []).append(pod)
    if not groups and empty:
        return [([], [])]
    return [(json.loads(ports), group) for ports, group in sorted(groups.items())]


def _ports(service: Document, pod: Document) -> list[Document]:
    ports = []
    for port in service["spec"].get("ports") or ():
        number = target_port(port, pod)
        if number is not None:
            known = {"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")}
            ports.append(known | ({"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {}))
    return ports


def target_port(port: Document, pod: Document) -> int | None:
    """Return the number that a service's port has in a pod, or None where the pod names no such port."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    sidecars = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    for container in [*spec["containers"], *sidecars]:
        for one in container.get("ports") or ():
            if one.get("name") == target and one.get("protocol", "TCP") == port.get("protocol", "TCP"):
                return int(one["containerPort"])
    return None


def _shown(port: Document) -> Document:
    """Return a port as Endpoints have it: one without a name has no name at all."""
    return {key: value for key, value in port.items() if key != "name" or value}


def _pod_reference(pod: Document) -> Document:
    metadata = pod["metadata"]
    return {"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}


def _place(service: Document, pod: Document) -> Document:
    node, spec = pod["spec"].get("nodeName"), pod["spec"]
    named = spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]
    place: Document = {"hostname": spec["hostname"]} if named else {}
    return place | ({"nodeName": node} if node else {})


def _address(service: Document, pod: Document) -> Document:
    return {"ip": pod["status"]["podIP"], **_place(service, pod), "targetRef": _pod_reference(pod)}


def _endpoint(service: Document, pod: Document) -> Document:
    serving, terminating = pods.is_ready(pod), pods.is_terminating(pod)
    every = bool(service["spec"].get("publishNotReadyAddresses"))
    conditions = {"ready": every or (serving and not terminating), "serving": serving, "terminating": terminating}
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": conditions,
        **_place(service, pod),
        "targetRef": _pod_reference(pod),
    }


def _slice(service: Document) -> Document:
    metadata = service["metadata"]
    labels = labels_of(service) | {_SERVICE_NAME: metadata["name"], _MANAGED_BY: _SLICE_CONTROLLER}
    if service["spec"].get("clusterIP") == "None":
        labels[_HEADLESS] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [reference_to(service)],
        },
        "addressType": "IPv4",
    }
