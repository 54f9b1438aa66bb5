"""Cells of printed tables: ages, lists and selectors in kubectl's format.

After https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects.selectors import selector_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rehearsal_cloud.documents import Document

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def age(timestamp: str | None) -> str:
    """Return the age of a time."""
    if not timestamp:
        return UNKNOWN
    return duration((datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds())


def between(start: str, end: str) -> str:
    """Return the duration between two times."""
    return duration((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def duration(seconds: float) -> str:
    """Return a duration in at most two units: Go's `duration.HumanDuration`."""
    total = int(seconds)
    if total < 0:
        return "<invalid>" if total < -1 else "0s"
    minutes, hours, days = total // 60, total // 3600, total // 86400
    steps = (
        (minutes < 2, f"{total}s"),  # noqa: PLR2004 - where kubectl goes over to the next unit, here and below
        (minutes < 10, _two_units(minutes, "m", total % 60, "s")),  # noqa: PLR2004
        (hours < 3, f"{minutes}m"),  # noqa: PLR2004
        (hours < 8, _two_units(hours, "h", minutes % 60, "m")),  # noqa: PLR2004
        (hours < 48, f"{hours}h"),  # noqa: PLR2004
        (days < 8, _two_units(days, "d", hours % 24, "h")),  # noqa: PLR2004
        (days < 365 * 2, f"{days}d"),
        (days < 365 * 8, _two_units(days // 365, "y", days % 365, "d")),
    )
    return next((text for fits, text in steps if fits), f"{days // 365}y")


def _two_units(many: int, unit: str, few: int, part: str) -> str:
    return f"{many}{unit}{few}{part}" if few else f"{many}{unit}"


def created(document: Document) -> str:
    """Return the object's age."""
    return age(document["metadata"].get("creationTimestamp"))


def joined(words: Iterable[Any], empty: str = NONE) -> str:
    """Return words joined with commas."""
    return ",".join(str(word) for word in words) or empty


def labels(pairs: Document | None) -> str:
    """Return labels in a selector's form."""
    return joined(f"{key}={value}" for key, value in sorted((pairs or {}).items()))


def selector(document: Document | None) -> str:
    """Return a metav1.LabelSelector as text."""
    return selector_text(document or {}) or NONE


def containers(pod_spec: Document) -> list[str]:
    """Return the names of the containers, and their images."""
    container_specs = pod_spec.get("containers") or []
    return [
        joined(container["name"] for container in container_specs),
        joined(container["image"] for container in container_specs),
    ]


def access_modes(modes: list[str] | None) -> str:
    """Return the access modes of a volume in short."""
    return joined((_MODES[mode] for mode in modes or []), "")
