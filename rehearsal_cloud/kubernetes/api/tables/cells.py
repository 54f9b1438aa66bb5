"""Cells of printed tables: ages, lists and selectors as kubectl shows them.

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
    """Return how long ago a time is."""
    if not timestamp:
        return UNKNOWN
    return duration((datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds())


def between(start: str, end: str) -> str:
    """Return how long it is from one time to another."""
    return duration((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def duration(seconds: float) -> str:
    """Return a duration in at most two units: Go's `duration.HumanDuration`."""
    whole = int(seconds)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    steps = (
        (minutes < 2, f"{whole}s"),  # noqa: PLR2004 - where kubectl goes over to the next unit, here and below
        (minutes < 10, _two(minutes, "m", whole % 60, "s")),  # noqa: PLR2004
        (hours < 3, f"{minutes}m"),  # noqa: PLR2004
        (hours < 8, _two(hours, "h", minutes % 60, "m")),  # noqa: PLR2004
        (hours < 48, f"{hours}h"),  # noqa: PLR2004
        (days < 8, _two(days, "d", hours % 24, "h")),  # noqa: PLR2004
        (days < 365 * 2, f"{days}d"),
        (days < 365 * 8, _two(days // 365, "y", days % 365, "d")),
    )
    return next((text for fits, text in steps if fits), f"{days // 365}y")


def _two(many: int, unit: str, few: int, part: str) -> str:
    return f"{many}{unit}{few}{part}" if few else f"{many}{unit}"


def created(document: Document) -> str:
    """Return the object's age."""
    return age(document["metadata"].get("creationTimestamp"))


def joined(words: Iterable[Any], empty: str = NONE) -> str:
    """Return words with commas between them."""
    return ",".join(str(word) for word in words) or empty


def labels(pairs: Document | None) -> str:
    """Return labels as a selector writes them."""
    return joined(f"{key}={value}" for key, value in sorted((pairs or {}).items()))


def selector(document: Document | None) -> str:
    """Return a metav1.LabelSelector."""
    return selector_text(document or {}) or NONE


def containers(pod_spec: Document) -> list[str]:
    """Return the names of the containers, and their images."""
    there = pod_spec.get("containers") or []
    return [joined(one["name"] for one in there), joined(one["image"] for one in there)]


def access_modes(modes: list[str] | None) -> str:
    """Return the access modes of a volume in short."""
    return joined((_MODES[one] for one in modes or []), "")
