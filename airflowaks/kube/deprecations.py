"""The APIs that were used of a cluster, and that a later release of Kubernetes has no longer.

The API server tells it as a metric: https://kubernetes.io/docs/reference/using-api/deprecation-policy. It counts since
the server's start, and of several servers one answers: AKS, which looks at all of them and at twelve hours, decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflowaks.kube.client import Kube

_USED = re.compile(r"^apiserver_requested_deprecated_apis\{([^}]*)\} 1$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def removed_apis(kube: Kube, release: str) -> list[str]:
    """Return the APIs that were used and that `release`, or one before it, removes. Raises KubernetesError."""
    metrics = kube.send("GET", "/metrics", subject="which deprecated APIs were used").text()
    uses = [dict(_LABEL.findall(labels)) for labels in _USED.findall(metrics)]
    return [
        f"{use['resource']} of {use['group']}/{use['version']}"
        for use in uses
        if use["removed_release"] and _number(use["removed_release"]) <= _number(release)
    ]


def _number(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")[:2]))
