"""Table rows of networking, storage and cluster objects.

After https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.api.tables.cells import (
    NONE,
    UNKNOWN,
    UNSET,
    access_modes,
    age,
    created,
    duration,
    joined,
    labels,
)
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_SHOWN_ENDPOINTS = 3
_NODE_ROLE = "node-role.kubernetes.io/"


# Network


def service(document: Document) -> list[Any]:
    """Return type, address, external address, ports, age; selector."""
    spec = document["spec"]
    ports = [_port(port) for port in spec.get("ports") or []]
    shown = [spec.get("type", ""), spec.get("clusterIP") or NONE, _external(document), joined(ports), created(document)]
    return [*shown, labels(spec.get("selector"))]


def _port(port: Document) -> str:
    outside = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{outside}/{port['protocol']}"


def _external(document: Document) -> str:
    spec, extra = document["spec"], document["spec"].get("externalIPs") or []
    if spec.get("type") == "ExternalName":
        return str(spec["externalName"])
    if spec.get("type") != "LoadBalancer":
        return joined(extra)
    ingress = (document.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
    return joined([*(entry.get("ip") or entry.get("hostname") for entry in ingress), *extra], "<pending>")


def endpoints(document: Document) -> list[Any]:
    """Return endpoints, age."""
    addresses = [
        f"{address['ip']}:{port['port']}"
        for subset in document.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    return [_shortened(addresses), created(document)]


def _shortened(words: list[str]) -> str:
    more = len(words) - _SHOWN_ENDPOINTS
    return joined(words[:_SHOWN_ENDPOINTS]) + (f" + {more} more..." if more > 0 else "")


def endpoint_slice(document: Document) -> list[Any]:
    """Return address type, ports, endpoints, age."""
    ports = [str(port.get("port", "*")) for port in document.get("ports") or []]
    addresses = [address for endpoint in document.get("endpoints") or [] for address in endpoint["addresses"]]
    return [
        document["addressType"],
        _shortened(ports).replace(NONE, UNSET),
        _shortened(addresses).replace(NONE, UNSET),
        created(document),
    ]


def ingress(document: Document) -> list[Any]:
    """Return class, hosts, address, ports, age."""
    spec = document["spec"]
    hosts = [rule["host"] for rule in spec.get("rules") or [] if rule.get("host")]
    shown = joined(hosts, "*")
    ingress = (document.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
    address = joined((entry.get("ip") or entry.get("hostname") for entry in ingress), "")
    return [
        spec.get("ingressClassName") or NONE,
        shown,
        address,
        "80, 443" if spec.get("tls") else "80",
        created(document),
    ]


# Storage


def volume(document: Document) -> list[Any]:
    """Return a persistent volume's row without its name; volume mode."""
    spec, status = document["spec"], document.get("status") or {}
    claim = spec.get("claimRef")
    return [
        (spec.get("capacity") or {}).get("storage", ""),
        access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(document),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        created(document),
        spec.get("volumeMode") or UNSET,
    ]


def claim(document: Document) -> list[Any]:
    """Return a persistent volume claim's row without its name; volume mode."""
    spec, status = document["spec"], document.get("status") or {}
    bound = bool(spec.get("volumeName"))
    return [
        _phase(document),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        access_modes(status.get("accessModes")) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        created(document),
        spec.get("volumeMode") or UNSET,
    ]


def _phase(document: Document) -> str:
    return (
        "Terminating"
        if document["metadata"].get("deletionTimestamp")
        else (document.get("status") or {}).get("phase", "")
    )


def storage_class(document: Document) -> list[Any]:
    """Return name, provisioner, reclaim policy, binding mode, expansion, age."""
    annotations = document["metadata"].get("annotations") or {}
    default = " (default)" if annotations.get("storageclass.kubernetes.io/is-default-class") == "true" else ""
    shown = [document["provisioner"], document.get("reclaimPolicy", "Delete"), document.get("volumeBindingMode", UNSET)]
    return [
        f"{document['metadata']['name']}{default}",
        *shown,
        bool(document.get("allowVolumeExpansion")),
        created(document),
    ]


def csi_driver(document: Document) -> list[Any]:
    """Return what the driver needs of the kubelet, modes, age."""
    spec = document["spec"]
    tokens = spec.get("tokenRequests")
    return [
        *(bool(spec.get(field)) for field in ("attachRequired", "podInfoOnMount", "storageCapacity")),
        UNSET if tokens is None else ",".join(token["audience"] for token in tokens),
        bool(spec.get("requiresRepublish")),
        joined(spec.get("volumeLifecycleModes") or []),
        created(document),
    ]


def volume_attachment(document: Document) -> list[Any]:
    """Return name, attacher, volume, node, attached, age."""
    spec, status = document["spec"], document.get("status") or {}
    place = [(spec.get("source") or {}).get("persistentVolumeName", ""), spec["nodeName"]]
    return [document["metadata"]["name"], spec["attacher"], *place, bool(status.get("attached")), created(document)]


# The cluster


def quota(document: Document) -> list[Any]:
    """Return what is used of the requests and other amounts, and of the limits; age."""
    status = document.get("status") or {}
    texts: dict[bool, list[str]] = {False: [], True: []}
    for name, hard in sorted((status.get("hard") or {}).items()):
        used = (status.get("used") or {}).get(name, "0")
        texts[name.startswith("limits.")].append(f"{name}: {used}/{hard}")
    return [*(", ".join(column) for column in texts.values()), created(document)]


def signing_request(document: Document) -> list[Any]:
    """Return age, signer, requestor, requested duration, condition."""
    spec, status = document["spec"], document.get("status") or {}
    seconds = spec.get("expirationSeconds")
    states = [condition["type"] for condition in status.get("conditions") or ()] or ["Pending"]
    issued = ["Issued"] if status.get("certificate") else []
    asked = NONE if seconds is None else duration(seconds)
    return [created(document), spec["signerName"], spec.get("username", ""), asked, ",".join([*states, *issued])]


def node(document: Document) -> list[Any]:
    """Return status, roles, age, version; addresses and system."""
    status = document["status"]
    ready = next((condition for condition in status.get("conditions") or [] if condition["type"] == "Ready"), None)
    state = "Unknown" if ready is None else ("Ready" if ready["status"] == "True" else "NotReady")
    state += ",SchedulingDisabled" if document["spec"].get("unschedulable") else ""
    marks = document["metadata"].get("labels") or {}
    roles = sorted(key.removeprefix(_NODE_ROLE) for key in marks if key.startswith(_NODE_ROLE))
    addresses = {address["type"]: address["address"] for address in status.get("addresses") or []}
    info = status.get("nodeInfo") or {}
    places = [addresses.get("InternalIP", NONE), addresses.get("ExternalIP", NONE)]
    system = [info.get(name) or UNKNOWN for name in ("osImage", "kernelVersion", "containerRuntimeVersion")]
    return [state, joined(roles), created(document), info.get("kubeletVersion", ""), *places, *system]


def event(document: Document) -> list[Any]:
    """Return an event's row, its name last."""
    about, source, series = document["involvedObject"], document.get("source") or {}, document.get("series") or {}
    first = document.get("firstTimestamp") or document.get("eventTime")
    last = document.get("lastTimestamp") or series.get("lastObservedTime") or first
    component = source.get("component") or document.get("reportingComponent", "")
    return [
        age(last),
        document.get("type", ""),
        document.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        f"{component}, {source['host']}" if source.get("host") else component,
        (document.get("message") or "").strip(),
        age(first),
        document.get("count") or series.get("count") or 1,
        document["metadata"]["name"],
    ]


def binding(document: Document) -> list[Any]:
    """Return role, age; users, groups, service accounts."""
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in document.get("subjects") or []:
        place = f"{subject.get('namespace', '')}/" if subject["kind"] == "ServiceAccount" else ""
        subjects[subject["kind"]].append(f"{place}{subject['name']}")
    role = f"{document['roleRef']['kind']}/{document['roleRef']['name']}"
    return [role, created(document), *(", ".join(names) for names in subjects.values())]


def pod_metrics(document: Document) -> list[Any]:
    """Return CPU and memory of all containers, window."""
    cpu = sum(amount(container["usage"]["cpu"]) for container in document["containers"])
    memory = sum(amount(container["usage"]["memory"]) for container in document["containers"])
    return [f"{cpu * 10**9:.0f}n", f"{memory / 1024:.0f}Ki", document["window"]]


def node_metrics(document: Document) -> list[Any]:
    """Return CPU, memory, window."""
    return [document["usage"]["cpu"], document["usage"]["memory"], document["window"]]
