"""Where two versions of an object differ; both are the API's own, so only what the server keeps is passed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflowaks.changes import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT_BY_SERVER = frozenset(("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"))


def differences(want: Mapping[str, Any], have: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return where `have` is not `want`, status apart; elements that have a name are found by it (`env[HOME]`)."""
    return tuple(_compare(_without_servers(want), _without_servers(have), ""))


def _without_servers(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in document["metadata"].items() if key not in _KEPT_BY_SERVER}
    return {key: value for key, value in document.items() if key != "status"} | {"metadata": metadata}


def _compare(want: Any, have: Any, path: str) -> Iterator[Difference]:
    if isinstance(want, Mapping) and isinstance(have, Mapping):
        for key in [*want, *(one for one in have if one not in want)]:
            yield from _compare(want.get(key), have.get(key), _member(path, key))
    elif (wanted := _by_name(want)) is not None and (found := _by_name(have)) is not None:
        for name in [*wanted, *(one for one in found if one not in wanted)]:
            yield from _compare(wanted.get(name), found.get(name), f"{path}[{name}]")
    elif isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        for index, (wanted_one, found_one) in enumerate(zip(want, have, strict=True)):
            yield from _compare(wanted_one, found_one, f"{path}[{index}]")
    elif want != have:
        yield Difference(path, have, want)


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
