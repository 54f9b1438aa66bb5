"""The differences between two versions of an object from the API; fields that the server maintains are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflowaks.engine.changes import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT_BY_SERVER = frozenset(("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"))


def differences(desired: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return the differences, without status; list elements that have a name are compared by name (`env[HOME]`)."""
    return tuple(_compare(_without_servers(desired), _without_servers(actual), ""))


def _without_servers(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in document["metadata"].items() if key not in _KEPT_BY_SERVER}
    return {key: value for key, value in document.items() if key != "status"} | {"metadata": metadata}


def _compare(desired: Any, actual: Any, path: str) -> Iterator[Difference]:
    if isinstance(desired, Mapping) and isinstance(actual, Mapping):
        for key in [*desired, *(key for key in actual if key not in desired)]:
            yield from _compare(desired.get(key), actual.get(key), _member(path, key))
    elif (desired_items := _by_name(desired)) is not None and (actual_items := _by_name(actual)) is not None:
        for name in [*desired_items, *(name for name in actual_items if name not in desired_items)]:
            yield from _compare(desired_items.get(name), actual_items.get(name), f"{path}[{name}]")
    elif isinstance(desired, list) and isinstance(actual, list) and len(desired) == len(actual):
        for index, (desired_item, actual_item) in enumerate(zip(desired, actual, strict=True)):
            yield from _compare(desired_item, actual_item, f"{path}[{index}]")
    elif desired != actual:
        yield Difference(path, actual, desired)


def _member(path: str, key: str) -> str:
    if "." in key or "/" in key:
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _by_name(value: Any) -> dict[str, Any] | None:
    """Return a list's items by name, or None if they do not all have different names."""
    items = value if isinstance(value, list) else []
    named = {str(item["name"]): item for item in items if isinstance(item, Mapping) and "name" in item}
    return named if 0 < len(named) == len(items) else None
