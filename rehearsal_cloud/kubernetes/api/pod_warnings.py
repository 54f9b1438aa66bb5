"""Warnings about pods and templates that are valid and hardly meant so.

After https://github.com/kubernetes/kubernetes/blob/master/pkg/api/pod/warnings.go and pkg/api/node/util.go: the
ones that a 1.36 server was seen to give, for duplicate variables and ports, deprecated node labels, fractional memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.pod_templates import pod_template
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document

_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def warnings(document: Document, old: Document | None) -> Iterator[str]:
    """Yield the warnings about a new pod, or about a workload's new or changed template."""
    path, template = pod_template(document)
    if template is None or (old is not None and (document["kind"] == "Pod" or pod_template(old)[1] == template)):
        return
    spec = template["spec"]
    for key in spec.get("nodeSelector") or ():
        if key in _NODE_LABELS:
            yield f"{path}spec.nodeSelector[{key}]: {_NODE_LABELS[key]}"
    containers = [
        (f"{path}spec.{name}[{index}]", container)
        for name in ("initContainers", "containers")
        for index, container in enumerate(spec.get(name) or ())
    ]
    for place, container in containers:
        yield from _fractions(f"{place}.resources", container.get("resources") or {})
        yield from _hidden_variables(f"{place}.env", container.get("env") or [])
    yield from _duplicate_ports(containers)


def _fractions(path: str, resources: Document) -> Iterator[str]:
    for way in ("limits", "requests"):
        for name in ("memory", "ephemeral-storage"):
            value = (resources.get(way) or {}).get(name, "0")
            if amount(value) % 1:
                yield f'{path}.{way}[{name}]: fractional byte value "{value}" is invalid, must be an integer'


def _hidden_variables(path: str, variables: list[Document]) -> Iterator[str]:
    names = set()
    for index, variable in enumerate(variables):
        name, value = variable["name"], variable.get("value") or ""
        reference = f"$({name})"
        if name in names and ("valueFrom" in variable or value == reference or reference not in value):
            yield f'{path}[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        names.add(name)


def _duplicate_ports(containers: list[tuple[str, Document]]) -> Iterator[str]:
    places: dict[tuple[object, ...], list[tuple[str, tuple[object, ...]]]] = {}
    for path, container in containers:
        for index, port in enumerate(container.get("ports") or ()):
            place, host = f"{path}.ports[{index}]", (port.get("hostIP", ""), port.get("hostPort", 0))
            same_port = places.setdefault((port["containerPort"], port.get("protocol", "TCP")), [])
            for earlier, earlier_host in same_port:
                if host == earlier_host:
                    yield f"{place}: duplicate port definition with {earlier}"
                elif 0 in (host[1], earlier_host[1]):
                    yield f"{place}: overlapping port definition with {earlier}"
            same_port.append((place, host))
