"""The downward API: fields of a pod and resources of its containers, for variables and files."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_ENTRY = re.compile(r"metadata\.(?P<map>labels|annotations)\['(?P<key>[^']+)'\]")


def pod_field(pod: Document, path: str) -> str:
    """Return the field that `path` names; a whole map of labels or annotations has a line for each entry."""
    if entry := _ENTRY.fullmatch(path):
        return str((pod["metadata"].get(entry["map"]) or {}).get(entry["key"], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = pod["metadata"].get(path.partition(".")[2]) or {}
        return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted(entries.items()))
    if path in ("status.podIPs", "status.hostIPs"):
        return ",".join(address["ip"] for address in pod["status"].get(path.partition(".")[2]) or [])
    value = pod
    for part in path.split("."):
        value = value.get(part) or {}
    return str(value or "")


def resource_field(pod: Document, reference: Document, allocatable: Document, container: Document | None) -> str:
    """Return a request or a limit of a container in units of its divisor; the default limit is the node's capacity."""
    if container is None or reference.get("containerName"):
        every = [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]
        container = next(candidate for candidate in every if candidate["name"] == reference["containerName"])
    section, _, resource = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    value = (resources.get(section) or {}).get(resource)
    if value is None and section == "limits":
        value = allocatable.get(resource)
    divisor = amount(str(reference.get("divisor") or "0")) or amount("1")
    return str(math.ceil(amount(str(value or "0")) / divisor))
