"""What a pod has to say where its namespace enforces PodSecurity's `restricted`, as the one of step 1 does."""

from __future__ import annotations

from typing import Any

CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
POD = {"runAsNonRoot": True, "runAsUser": 50000, "seccompProfile": {"type": "RuntimeDefault"}}


def hardened(**spec: Any) -> dict[str, Any]:
    """Return the pod's spec with the security contexts that are asked for."""
    containers = [{**container, "securityContext": CONTAINER} for container in spec["containers"]]
    return {**spec, "containers": containers, "securityContext": POD}
