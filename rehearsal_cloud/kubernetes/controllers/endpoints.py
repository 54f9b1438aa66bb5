"""The endpoints controllers: the addresses of the pods behind a service, as Endpoints and as EndpointSlices.

After https://github.com/kubernetes/kubernetes/tree/master/pkg/controller/endpoint and .../endpointslice
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers import pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of, key_of, labels_of, with_metadata
from rehearsal_cloud.kubernetes.controllers.owners import controlled_by, reference_to
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event
    from rehearsal_cloud.kubernetes.state import ClusterState

_HEADLESS = "service.kubernetes.io/headless"
_SERVICE_NAME = "kubernetes.io/service-name"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
_SLICE_CONTROLLER = "endpointslice-controller.k8s.io"


class _Backends(Controller):
    """The base of both controllers: services, and the pods that their selectors choose."""

    def __init__(self, cluster: ClusterState) -> None:
        super().__init__(cluster)
        self._changes: dict[Key, dict[str, str]] = {}

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the service, those that select or selected the pod, or the owner of the endpoints."""
        document = event.document
        namespace = document["metadata"]["namespace"]
        if document["kind"] == "Pod":
            label_sets = [labels_of(version) for version in (document, event.previous) if version is not None]
            for service in self.objects.list("Service", namespace):
                selector = service["spec"].get("selector")
                if selector and any(matches_selector({"matchLabels": selector}, labels) for labels in label_sets):
                    yield key_of(service)
        elif document["kind"] == "EndpointSlice":
            yield namespace, labels_of(document).get(_SERVICE_NAME, "")
        else:
            yield key_of(document)

    def _service(self, key: Key) -> Document | None:
        namespace, name = key
        service = self.objects.get("Service", name, namespace)
        if service is None or "deletionTimestamp" in service["metadata"]:
            self._changes.pop(key, None)
            return None
        return service

    def _last_change(self, service: Document, chosen: list[Document]) -> Document:
        """Return the annotation of the change that led here: of the service at first, then of its pods' readiness.

        After util/trigger_time_tracker.go of https://github.com/kubernetes/endpointslice: a change that has no time, as
        a pod's deletion, gives no annotation.
        """
        conditions = {pod["metadata"]["name"]: pods.condition(pod, "Ready") for pod in chosen}
        times = {name: condition["lastTransitionTime"] for name, condition in conditions.items() if condition}
        before = self._changes.get(key_of(service))
        self._changes[key_of(service)] = times
        if before is None:
            return {_LAST_CHANGE: service["metadata"]["creationTimestamp"]}
        newer = [time for name, time in times.items() if time > before.get(name, "")]
        return {_LAST_CHANGE: min(newer)} if newer else {}

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
        """Write the service's Endpoints where they differ; delete those of a deleted service."""
        namespace, name = key
        service = self._service(key)
        existing = self.objects.get("Endpoints", name, namespace)
        if service is None:
            if existing is not None:
                self.objects.delete("Endpoints", name, namespace, uid=existing["metadata"]["uid"])
            return
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return
        chosen = self._pods(service)
        subsets, annotations = _subsets(service, chosen), self._last_change(service, chosen)
        headless = {_HEADLESS: ""} if service["spec"].get("clusterIP") == "None" else {}
        labels = labels_of(service) | {"endpoints.kubernetes.io/managed-by": "endpoint-controller"} | headless
        if existing is None:
            metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations}
            endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
            self.objects.create(endpoints | ({"subsets": subsets} if subsets else {}))
        elif (existing.get("subsets") or []) != subsets or labels_of(existing) != labels:
            annotated = with_metadata(existing, labels=labels, annotations=_annotated(existing, annotations))
            self.objects.update({**annotated, "subsets": subsets})


class EndpointSlices(_Backends):
    """Keeps the EndpointSlices of each service that has a selector: one for each set of target ports."""

    component = "endpoint-slice-controller"
    watches: ClassVar[tuple[str, ...]] = ("Service", "Pod", "EndpointSlice")

    async def reconcile(self, key: Key) -> None:
        """Create, update and delete the service's slices; the garbage collector deletes those of a deleted service."""
        service = self._service(key)
        if service is None or not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return
        metadata = service["metadata"]
        existing = [
            endpoint_slice
            for endpoint_slice in self.objects.list("EndpointSlice", metadata["namespace"])
            if controlled_by(endpoint_slice, service)
        ]
        every = self._pods(service)
        annotations = self._last_change(service, every)
        for ports, chosen in _by_ports(service, every, empty=True):
            content = {"ports": ports, "endpoints": [_endpoint(service, pod) for pod in chosen]}
            current = next(
                (endpoint_slice for endpoint_slice in existing if (endpoint_slice.get("ports") or []) == ports), None
            )
            if current is None:
                self.objects.create(with_metadata(_slice(service), annotations=annotations) | content)
                continue
            existing.remove(current)
            if (current.get("endpoints") or []) != content["endpoints"]:
                self.objects.update(with_metadata(current, annotations=_annotated(current, annotations)) | content)
        for endpoint_slice in existing:
            self.objects.delete("EndpointSlice", endpoint_slice["metadata"]["name"], metadata["namespace"])


def _annotated(document: Document, last_change: Document) -> Document:
    kept = {key: value for key, value in annotations_of(document).items() if key != _LAST_CHANGE}
    return kept | last_change


def _subsets(service: Document, chosen: list[Document]) -> list[Document]:
    subsets = []
    every = bool(service["spec"].get("publishNotReadyAddresses"))
    living = [pod for pod in chosen if every or not pods.is_terminating(pod)]
    for ports, group in _by_ports(service, living, empty=False):
        ready = [_address(service, pod) for pod in group if every or pods.is_ready(pod)]
        not_ready = [_address(service, pod) for pod in group if not every and not pods.is_ready(pod)]
        subset: Document = {"addresses": ready} if ready else {}
        subset |= {"notReadyAddresses": not_ready} if not_ready else {}
        subsets.append(subset | ({"ports": [_shown(port) for port in ports]} if ports else {}))
    return subsets


def _by_ports(service: Document, chosen: list[Document], *, empty: bool) -> list[tuple[list[Document], list[Document]]]:
    """Group pods by their target port numbers; a named port may have another number in each pod."""
    groups: dict[str, list[Document]] = {}
    for pod in sorted(chosen, key=lambda pod: (pod["status"]["podIP"], pod["metadata"]["uid"])):
        groups.setdefault(json.dumps(_ports(service, pod)), []).append(pod)
    if not groups and empty:
        return [([], [])]
    return [(json.loads(ports), group) for ports, group in sorted(groups.items())]


def _ports(service: Document, pod: Document) -> list[Document]:
    ports = []
    for port in service["spec"].get("ports") or ():
        number = target_port(port, pod)
        if number is not None:
            resolved = {"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")}
            ports.append(resolved | ({"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {}))
    return ports


def target_port(port: Document, pod: Document) -> int | None:
    """Return the number that a service's port has in a pod, or None where the pod names no such port."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    sidecars = [
        container for container in spec.get("initContainers") or () if container.get("restartPolicy") == "Always"
    ]
    for container in [*spec["containers"], *sidecars]:
        for container_port in container.get("ports") or ():
            if container_port.get("name") == target and container_port.get("protocol", "TCP") == port.get(
                "protocol", "TCP"
            ):
                return int(container_port["containerPort"])
    return None


def _shown(port: Document) -> Document:
    """Return a port as Endpoints show it: without the key `name` when the name is empty."""
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
