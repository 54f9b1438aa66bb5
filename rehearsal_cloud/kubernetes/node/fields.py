"""The downward API: fields of a pod and resources of its containers, as variables and files show them."""

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
    """Return the field that `path` names; the whole map of labels or annotations is a line for each."""
    if entry := _ENTRY.fullmatch(path):
        return str((pod["metadata"].get(entry["map"]) or {}).get(entry["key"], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = pod["metadata"].get(path.partition(".")[2]) or {}
        return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted(entries.items()))
    if path in ("status.podIPs", "status.hostIPs"):
        return ",".join(one["ip"] for one in pod["status"].get(path.partition(".")[2]) or [])
    found = pod
    for part in path.split("."):
        found = found.get(part) or {}
    return str(found or "")


def resource_field(pod: Document, reference: Document, allocatable: Document, container: Document | None) -> str:
    """Return a request or a limit of a container in units of its divisor; without a limit, what the node has."""
    if container is None or reference.get("containerName"):
        every = [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]
        container = next(one for one in every if one["name"] == reference["containerName"])
    which, _, resource = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    given = (resources.get(which) or {}).get(resource)
    if given is None and which == "limits":
        given = allocatable.get(resource)
    divisor = amount(str(reference.get("divisor") or "0")) or amount("1")
    return str(math.ceil(amount(str(given or "0")) / divisor))
