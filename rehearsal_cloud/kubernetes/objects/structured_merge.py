"""Structured merge: compare, merge and prune objects by their types, as server-side apply does.

The semantics are those of https://github.com/kubernetes-sigs/structured-merge-diff (package typed): structs and maps
are merged by field, lists of type map by their keys, sets by value, and everything else is one leaf. Without a
schema, maps are merged and lists are leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects import field_sets
from rehearsal_cloud.kubernetes.objects.schema import ANY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from rehearsal_cloud.kubernetes.objects.field_sets import FieldSet, Path
    from rehearsal_cloud.kubernetes.objects.schema import Type

_ABSENT: Any = object()


@dataclass
class Comparison:
    """The fields in which two objects differ. No field is in more than one of the sets."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)

    @property
    def written(self) -> set[Path]:
        """Return the added and modified fields."""
        return self.added | self.modified


def items(type_: Type, values: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the items of a list of type map or set with their elements. Raises ValueError for one without keys."""
    for index, item in enumerate(values):
        try:
            yield element(type_, item), item
        except ValueError as error:
            raise ValueError(f"element {index}: {error}") from error


def element(type_: Type, item: Any) -> str:
    """Return the path element of one item of a list of type map or set. Raises ValueError for an item without keys."""
    if not type_.keys:
        if isinstance(item, (dict, list)) or item is None:
            raise ValueError("associative list without keys has an element that's not a scalar")
        return field_sets.value(item)
    if not isinstance(item, dict):
        problem = "a null element" if item is None else "non-map elements"
        raise ValueError(f"associative list with keys may not have {problem}")  # noqa: TRY004 - as its other faults
    key_values = {name: item[name] if name in item else type_.key_default(name) for name in type_.keys}
    key_values = {name: value for name, value in key_values.items() if value is not None}
    if not key_values:
        named = " ".join(f'"{name}"' for name in type_.keys)
        text = f"associative list with keys has an element that omits all key fields [{named}]"
        raise ValueError(f"{text} (and doesn't have default values for any key fields)")
    return field_sets.key(key_values)


def field_set(type_: Type, value: Any, above: Path = ()) -> FieldSet:
    """Return the fields that an applied object has."""
    if _leaf(type_, value):
        return frozenset({above})
    paths: set[Path] = set()
    for name, (inner, child) in _children(type_, value).items():
        path = (*above, name)
        paths |= field_set(inner, child, path)
        if not (name.startswith("f:") and name[2:] in type_.fields) or child is None or child == {}:
            paths.add(path)
    return frozenset(paths)


def compare(type_: Type, old: Any, new: Any) -> Comparison:
    """Return the fields in which `new` differs from `old`."""
    comparison = Comparison()
    _compare(type_, old, new, (), comparison)
    return comparison


def merge(type_: Type, live: Any, config: Any) -> Any:
    """Return `live` merged with `config`, whose values win."""
    if config is _ABSENT:
        return live
    if live is _ABSENT or _leaf(type_, config) or _leaf(type_, live) or (_empty(live) and _empty(config)):
        return config
    if isinstance(config, dict) and isinstance(live, dict):
        return {
            name: merge(type_.child(name) or ANY, live.get(name, _ABSENT), config.get(name, _ABSENT))
            for name in [*live, *(key for key in config if key not in live)]
        }
    if isinstance(config, list) and isinstance(live, list):
        return _merged_list(type_, live, config)
    return live if config is None else config


def remove(type_: Type, value: Any, fields: AbstractSet[Path]) -> Any:
    """Return `value` without `fields`; an emptied value becomes None."""
    return _removed(type_, value, fields, ())


def _leaf(type_: Type, value: Any) -> bool:
    """Tell whether a value is owned as a whole."""
    if isinstance(value, dict):
        return type_.atomic
    if isinstance(value, list):
        return type_.atomic or type_.form != "list"
    return value is not None or type_.atomic or type_.form not in ("struct", "map", "list")


def _empty(value: Any) -> bool:
    return value is _ABSENT or value is None or value in ({}, [])


def _children(type_: Type, value: Any) -> dict[str, tuple[Type, Any]]:
    """Return the content of a struct, map or list by path element; equal items of a list become one list."""
    if isinstance(value, dict):
        return {field_sets.field(name): (type_.child(name) or ANY, child) for name, child in value.items()}
    children: dict[str, tuple[Type, Any]] = {}
    repeated: dict[str, list[Any]] = {}
    for name, item in items(type_, value or []):
        if name in children:
            repeated.setdefault(name, [children[name][1]]).append(item)
        children[name] = (type_.values or ANY, item)
    return children | {name: (ANY, every) for name, every in repeated.items()}


def _compare(type_: Type, old: Any, new: Any, above: Path, into: Comparison) -> None:
    shown = old if new is _ABSENT or new is None else new
    leaf = (_empty(old) and _empty(new)) or _leaf(type_, shown)
    if not leaf:
        before = {} if _empty(old) or _leaf(type_, old) else _children(type_, old)
        after = {} if _empty(new) or _leaf(type_, new) else _children(type_, new)
        for name in [*before, *(key for key in after if key not in before)]:
            inner = (after.get(name) or before[name])[0]
            then = before.get(name, (ANY, _ABSENT))[1]
            _compare(inner, then, after.get(name, (ANY, _ABSENT))[1], (*above, name), into)
    if old is _ABSENT:
        into.added.add(above)
    elif new is _ABSENT:
        into.removed.add(above)
    elif leaf and old != new and above:
        into.modified.add(above)


def _merged_list(type_: Type, live: list[Any], config: list[Any]) -> list[Any]:
    """Return the items of both lists: those of `config` in its order, those only in `live` at their places."""
    live_items = list(items(type_, live))
    config_items = dict(items(type_, config))
    once = {name: item for name, item in live_items if sum(name == other_name for other_name, _ in live_items) == 1}
    present = {name for name, _ in live_items}
    names = list(config_items)
    merged: list[Any] = []
    done: set[str] = set()
    left, right = 0, 0
    while left < len(live_items) or right < len(names):
        if left < len(live_items):
            name, item = live_items[left]
            following = next((candidate for candidate in names if candidate in present and candidate not in done), None)
            more = right < len(names)
            if name not in config_items:
                merged.append(item)
                left += 1
                continue
            if more and name != names[right] and following not in (None, name):
                left += 1
                continue
            if name in done or (more and name == names[right]):
                left += 1
        if right < len(names):
            name = names[right]
            merged.append(merge(type_.values or ANY, once.get(name, _ABSENT), config_items[name]))
            done.add(name)
            right += 1
    return merged


def _removed(type_: Type, value: Any, fields: AbstractSet[Path], above: Path) -> Any:
    if not isinstance(value, (dict, list)):
        return value
    if not value or _leaf(type_, value):
        return None
    if isinstance(value, dict):
        kept: Any = {}
        for name, child in value.items():
            path = (*above, field_sets.field(name))
            if path not in fields:
                kept[name] = _without(type_.child(name) or ANY, child, fields, path)
        return kept or None
    kept = []
    for name, item in items(type_, value):
        path = (*above, name)
        if path not in fields:
            kept.append(_without(type_.values or ANY, item, fields, path))
    return kept or None


def _without(type_: Type, value: Any, fields: AbstractSet[Path], path: Path) -> Any:
    inside = {field_path for field_path in fields if field_path[: len(path)] == path}
    return _removed(type_, value, inside, path) if inside else value
