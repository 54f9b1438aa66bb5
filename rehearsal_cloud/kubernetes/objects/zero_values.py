"""Zero values: the unset fields that Kubernetes' Go types write, and those that they omit.

The published schemas do not distinguish value fields from pointer fields; a server's answers do, and so
do the types in https://github.com/kubernetes/api.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.schema import Type

# Value structs are written even when they are empty.
_BY_VALUE = {
    "metadata", "spec", "status", "strategy", "updateStrategy", "template", "jobTemplate", "resources", "loadBalancer",
    "state", "lastState", "roleRef", "scaleTargetRef", "target", "metric", "current", "nodeInfo", "daemonEndpoints",
    "kubeletEndpoint", "names",
}  # fmt: skip
_ALSO_BY_VALUE = {("NetworkPolicySpec", "podSelector")}
# Except here, where these names are pointers.
_POINTERS = frozenset({("PodSpec", "resources"), ("PodStatus", "resources"), ("ContainerStatus", "resources")})
# Value numbers and booleans: their zero is left out.
_PLAIN = {
    "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold", "hostPort",
    "nodePort", "minReadySeconds", "observedGeneration", "generation", "readOnly", "paused", "stdin", "stdinOnce",
    "tty", "hostNetwork", "hostPID", "hostIPC", "publishNotReadyAddresses", "unschedulable", "healthCheckNodePort",
}  # fmt: skip
# Pointer strings: an empty string has a meaning and is kept.
_POINTED_STRINGS = {
    "storageClassName", "volumeMode", "ingressClassName", "runtimeClassName", "loadBalancerClass",
    "volumeAttributesClassName", "appProtocol",
}  # fmt: skip
_ALSO_POINTED = {("HostPathVolumeSource", "type"), ("GRPCAction", "service"), ("EndpointPort", "name")}
# Lists that are compared before they are written: `lifecycle` leaves them out.
_COMPARED_LISTS = frozenset({("NetworkPolicySpec", "ingress"), ("NetworkPolicySpec", "egress")})
_STATUS_COUNTS = frozenset({"DeploymentStatus", "ReplicaSetStatus", "StatefulSetStatus", "JobStatus"})
# Except these, which are pointers.
_POINTED_COUNTS = frozenset({"ready", "terminating", "terminatingReplicas"})


def zero(type_: Type) -> Document:
    """Return an empty object of a struct's type."""
    empty: dict[str, Any] = {"struct": None, "map": None, "list": None, "string": "", "boolean": False}
    values: Document = {}
    for name, child in type_.fields.items():
        if by_value(type_, name):
            values[name] = zero(child)
        elif name in type_.required:
            values[name] = empty.get(child.form, 0)
    return values


def by_value(type_: Type, name: str) -> bool:
    """Tell whether an empty struct's field is written as `{}`."""
    child = type_.fields[name]
    key = (type_.name, name)
    held = key in _ALSO_BY_VALUE or (name in _BY_VALUE and key not in _POINTERS)
    return held and not type_.custom and child.form == "struct" and bool(child.definition)


def omitted(type_: Type, name: str, child: Type, value: Any) -> bool:
    """Tell whether a field with this value is omitted: null, an empty list or map, or the zero of a plain field."""
    if value is None:
        return True
    if type_.custom or name in type_.required:
        return False
    if child.form in ("list", "map"):
        return value in ([], {}) and (type_.name, name) not in _COMPARED_LISTS
    if value == "":
        return child.form == "string" and name not in _POINTED_STRINGS and (type_.name, name) not in _ALSO_POINTED
    plain = name in _PLAIN or (type_.name in _STATUS_COUNTS and name not in _POINTED_COUNTS)
    return plain and child.form in ("integer", "boolean") and not value
