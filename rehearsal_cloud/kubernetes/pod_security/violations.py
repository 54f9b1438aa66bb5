"""Violations: what a control of the Pod Security Standards finds in a pod, in the server's words.

After https://github.com/kubernetes/pod-security-admission/tree/master/policy (checks.go, helpers.go, visitor.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rehearsal_cloud.documents import Document

    Check = Callable[[Document], "Violation | None"]


@dataclass(frozen=True)
class Violation:
    """A control that a pod breaks: its short reason, and the values that break it."""

    reason: str
    detail: str

    def __str__(self) -> str:
        """Return both, as a refusal lists them."""
        return f"{self.reason} ({self.detail})"


@dataclass(frozen=True)
class Control:
    """A control from the minor version `since` on; `overrides` names the control of baseline that it replaces."""

    name: str
    since: int
    check: Check
    overrides: str = ""


def containers(pod: Document) -> Iterator[Document]:
    """Yield the containers of a pod or a template in the order of messages."""
    for list_name in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod["spec"].get(list_name) or ()


def security(document: Document, field: str) -> Any:
    """Return a field of the securityContext of a container or of a pod's spec, or None."""
    return (document.get("securityContext") or {}).get(field)


def breaking(pod: Document, breaks: Callable[[Document], object]) -> list[str]:
    """Return the names of the containers that break a rule."""
    return [container["name"] for container in containers(pod) if breaks(container)]


def plural(noun: str, items: Iterable[object]) -> str:
    """Return the noun, with an s unless there is exactly one item."""
    return noun if len(list(items)) == 1 else f"{noun}s"


def quoted(items: Iterable[str]) -> str:
    """Return the items as a list in quotes."""
    return ", ".join(f'"{item}"' for item in items)


def named(noun: str, names: list[str]) -> str:
    """Return the noun and the names: `containers "a", "b"`."""
    return f"{plural(noun, names)} {quoted(names)}"


def setters(pod: object, names: list[str]) -> str:
    """Return what sets a value: `pod`, the containers, or both."""
    return " and ".join([*(["pod"] if pod else []), *([named("container", names)] if names else [])])
