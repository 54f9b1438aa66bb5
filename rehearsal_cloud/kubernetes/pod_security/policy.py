"""The policy of a namespace: the level and version of the standards that its labels enforce, warn of and audit.

After https://github.com/kubernetes/pod-security-admission/blob/master/api/helpers.go and policy/registry.go there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation.causes import invalid
from rehearsal_cloud.kubernetes.pod_security.baseline import BASELINE
from rehearsal_cloud.kubernetes.pod_security.restricted import RESTRICTED

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause
    from rehearsal_cloud.kubernetes.pod_security.violations import Control, Violation

LEVELS = ("privileged", "baseline", "restricted")
"""The levels, the strictest last."""
_PREFIX = "pod-security.kubernetes.io/"
_VERSION = r"v1\.([0-9]|[1-9][0-9]*)"


@dataclass(frozen=True)
class Standard:
    """A level of the Pod Security Standards as of a version: `latest`, or `v1.35`."""

    level: str = "privileged"
    version: str = "latest"

    def __str__(self) -> str:
        """Return both, as refusals name them."""
        return f"{self.level}:{self.version}"

    @property
    def rank(self) -> int:
        """Return the strictness of the level."""
        return LEVELS.index(self.level)

    def violations(self, pod: Document, newest: int) -> list[Violation]:
        """Return what a pod or a template breaks; `newest` is the cluster's minor version, the last that it knows."""
        if self.level == "privileged":
            return []
        minor = newest if self.version == "latest" else min(newest, int(self.version.partition(".")[2]))
        controls = _current(BASELINE, minor)
        if self.level == "restricted":
            stricter = _current(RESTRICTED, minor)
            for control in stricter.values():
                controls.pop(control.overrides, None)
            controls |= stricter
        return [violation for control in controls.values() if (violation := control.check(pod)) is not None]


def _current(controls: tuple[Control, ...], minor: int) -> dict[str, Control]:
    return {control.name: control for control in controls if control.since <= minor}


@dataclass(frozen=True)
class Policy:
    """What a namespace enforces and warns of. What it audits goes to a log that nobody here can read."""

    enforce: Standard = Standard()
    warn: Standard = Standard()


def policy_of(namespace: Document) -> tuple[Policy, list[Cause]]:
    """Return the policy of a namespace, and the errors of its labels.

    As the server, an invalid level is enforced as restricted and warns of nothing; an invalid version is the latest.
    """
    labels = namespace["metadata"].get("labels") or {}
    wrong: list[Cause] = []
    standards: dict[str, Standard] = {}
    for mode in ("enforce", "audit", "warn"):
        standard, level, version = Standard(), labels.get(_PREFIX + mode), labels.get(f"{_PREFIX}{mode}-version")
        if level in LEVELS:
            standard = replace(standard, level=level)
        elif level is not None:
            standard = replace(standard, level="restricted" if mode == "enforce" else "privileged")
            wrong.append(invalid(_path(mode), level, f"must be one of {', '.join(LEVELS)}"))
        if version is not None and (version == "latest" or re.fullmatch(_VERSION, version)):
            standard = replace(standard, version=version)
        elif version is not None:
            wrong.append(invalid(_path(f"{mode}-version"), version, 'must be "latest" or "v1.x"'))
        standards[mode] = standard
    enforce, warn = standards["enforce"], standards["warn"]
    if f"{_PREFIX}warn" not in labels and labels.get(f"{_PREFIX}enforce") in LEVELS and enforce.rank > warn.rank:
        warn = enforce if f"{_PREFIX}warn-version" not in labels else replace(warn, level=enforce.level)
    return Policy(enforce, warn), wrong


def _path(label: str) -> str:
    return f"metadata.labels[{_PREFIX}{label}]"
