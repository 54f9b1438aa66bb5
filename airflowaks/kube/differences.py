"""Where two versions of an object differ; both are the API's own, so only what the server keeps is passed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflowaks.engine.changes import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT_BY_SERVER = frozenset(("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"))


def differences(desired: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return where `have` is not `want`, status apart; elements that have a name are found by it (`env[HOME]`)."""
    return tuple(_compare(_without_servers(desired), _without_servers(actual), ""))


def _without_servers(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in document["metadata"].items() if key not in _KEPT_BY_SERVER}
    return {key: value for key, value in document.items() if key != "status"} | {"metadata": metadata}


def _compare(desired: Any, actual: Any, path: str) -> Iterator[Difference]:
    if isinstance(desired, Mapping) and isinstance(actual, Mapping):
        for key in [*desired, *(one for one in actual if one not in desired)]:
            yield from _compare(desired.get(key), actual.get(key), _member(path, key))
    elif (wanted := _by_name(desired)) is not None and (found := _by_name(actual)) is not None:
        for name in [*wanted, *(one for one in found if one not in wanted)]:
            yield from _compare(wanted.get(name), found.get(name), f"{path}[{name}]")
    elif isinstance(desired, list) and isinstance(actual, list) and len(desired) == len(actual):
        for index, (wanted_one, found_one) in enumerate(zip(desired, actual, strict=True)):
            yield from _compare(wanted_one, found_one, f"{path}[{index}]")
    elif desired != actual:
        yield Difference(path, actual, desired)


def _member(path: str, key: str) -> str:
    if "." in key or "/" in key:
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _by_name(value: Any) -> dict[str, Any] | None:
    """Return a list's elements by their names, or None where it is no list of things with names of their own."""
    if not isinstance(value, list) or not value or not all(isinstance(one, Mapping) and "name" in one for one in value):
        return None
    named = {str(one["name"]): one for one in value}
    return named if len(named) == len(value) else None
