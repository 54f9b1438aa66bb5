"""Lines of networks, storage and the cluster's own objects in tables.

After https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.api.tables.cells import NONE, UNKNOWN, UNSET, access_modes, age, created, joined, labels

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_SHOWN_ENDPOINTS = 3
_NODE_ROLE = "node-role.kubernetes.io/"


# Network


def service(one: Document) -> list[Any]:
    """Return type, address, external address, ports, age; selector."""
    spec = one["spec"]
    ports = [_port(each) for each in spec.get("ports") or []]
    shown = [spec.get("type", ""), spec.get("clusterIP") or NONE, _external(one), joined(ports), created(one)]
    return [*shown, labels(spec.get("selector"))]


def _port(port: Document) -> str:
    outside = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{outside}/{port['protocol']}"


def _external(one: Document) -> str:
    spec, extra = one["spec"], one["spec"].get("externalIPs") or []
    if spec.get("type") == "ExternalName":
        return str(spec["externalName"])
    if spec.get("type") != "LoadBalancer":
        return joined(extra)
    ingress = (one.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
    return joined([*(each.get("ip") or each.get("hostname") for each in ingress), *extra], "<pending>")


def endpoints(one: Document) -> list[Any]:
    """Return endpoints, age."""
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in one.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    return [_few(found), created(one)]


def _few(words: list[str]) -> str:
    more = len(words) - _SHOWN_ENDPOINTS
    return joined(words[:_SHOWN_ENDPOINTS]) + (f" + {more} more..." if more > 0 else "")


def endpoint_slice(one: Document) -> list[Any]:
    """Return address type, ports, endpoints, age."""
    ports = [str(port.get("port", "*")) for port in one.get("ports") or []]
    addresses = [address for each in one.get("endpoints") or [] for address in each["addresses"]]
    return [one["addressType"], _few(ports).replace(NONE, UNSET), _few(addresses).replace(NONE, UNSET), created(one)]


def ingress(one: Document) -> list[Any]:
    """Return class, hosts, address, ports, age."""
    spec = one["spec"]
    hosts = [rule["host"] for rule in spec.get("rules") or [] if rule.get("host")]
    shown = joined(hosts, "*")
    ingress = (one.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
    address = joined((each.get("ip") or each.get("hostname") for each in ingress), "")
    return [spec.get("ingressClassName") or NONE, shown, address, "80, 443" if spec.get("tls") else "80", created(one)]


# Storage


def volume(one: Document) -> list[Any]:
    """Return a persistent volume's line but its name; volume mode."""
    spec, status = one["spec"], one.get("status") or {}
    claim = spec.get("claimRef")
    return [
        (spec.get("capacity") or {}).get("storage", ""),
        access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(one),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        created(one),
        spec.get("volumeMode") or UNSET,
    ]


def claim(one: Document) -> list[Any]:
    """Return a persistent volume claim's line but its name; volume mode."""
    spec, status = one["spec"], one.get("status") or {}
    bound = bool(spec.get("volumeName"))
    return [
        _phase(one),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        access_modes(status.get("accessModes")) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        created(one),
        spec.get("volumeMode") or UNSET,
    ]


def _phase(one: Document) -> str:
    return "Terminating" if one["metadata"].get("deletionTimestamp") else (one.get("status") or {}).get("phase", "")


def storage_class(one: Document) -> list[Any]:
    """Return name, provisioner, reclaim policy, binding mode, expansion, age."""
    annotations = one["metadata"].get("annotations") or {}
    default = " (default)" if annotations.get("storageclass.kubernetes.io/is-default-class") == "true" else ""
    shown = [one["provisioner"], one.get("reclaimPolicy", "Delete"), one.get("volumeBindingMode", UNSET)]
    return [f"{one['metadata']['name']}{default}", *shown, bool(one.get("allowVolumeExpansion")), created(one)]


# The cluster


def node(one: Document) -> list[Any]:
    """Return status, roles, age, version; addresses and system."""
    status = one["status"]
    ready = next((each for each in status.get("conditions") or [] if each["type"] == "Ready"), None)
    state = "Unknown" if ready is None else ("Ready" if ready["status"] == "True" else "NotReady")
    state += ",SchedulingDisabled" if one["spec"].get("unschedulable") else ""
    marks = one["metadata"].get("labels") or {}
    roles = sorted(key.removeprefix(_NODE_ROLE) for key in marks if key.startswith(_NODE_ROLE))
    addresses = {each["type"]: each["address"] for each in status.get("addresses") or []}
    info = status.get("nodeInfo") or {}
    places = [addresses.get("InternalIP", NONE), addresses.get("ExternalIP", NONE)]
    system = [info.get(name) or UNKNOWN for name in ("osImage", "kernelVersion", "containerRuntimeVersion")]
    return [state, joined(roles), created(one), info.get("kubeletVersion", ""), *places, *system]


def event(one: Document) -> list[Any]:
    """Return all of an event's line, its name last."""
    about, source, series = one["involvedObject"], one.get("source") or {}, one.get("series") or {}
    first = one.get("firstTimestamp") or one.get("eventTime")
    last = one.get("lastTimestamp") or series.get("lastObservedTime") or first
    component = source.get("component") or one.get("reportingComponent", "")
    return [
        age(last),
        one.get("type", ""),
        one.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        f"{component}, {source['host']}" if source.get("host") else component,
        (one.get("message") or "").strip(),
        age(first),
        one.get("count") or series.get("count") or 1,
        one["metadata"]["name"],
    ]


def binding(one: Document) -> list[Any]:
    """Return role, age; users, groups, service accounts."""
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for each in one.get("subjects") or []:
        place = f"{each.get('namespace', '')}/" if each["kind"] == "ServiceAccount" else ""
        subjects[each["kind"]].append(f"{place}{each['name']}")
    role = f"{one['roleRef']['kind']}/{one['roleRef']['name']}"
    return [role, created(one), *(", ".join(names) for names in subjects.values())]
