"""Strategic merge patches: merging by the patch strategies of Kubernetes' types, with their directives.

The semantics are those of https://github.com/kubernetes/apimachinery/blob/master/pkg/util/strategicpatch/patch.go:
lists with a merge key are merged by it, `$patch` deletes or replaces, `$retainKeys` clears the rest of a struct,
`$deleteFromPrimitiveList` takes items out, and `$setElementOrder` says in which order the items end up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects.schema import ANY

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.schema import Type

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"
_ABSENT = object()


class BadPatch(Exception):
    """A patch that can't be merged, in the server's words."""


class BadDirective(BadPatch):
    """A patch whose directives have the wrong form: a client's error, where others count as the server's."""


def merge(type_: Type, original: Document, patch: Document) -> Document:
    """Return `original` with a strategic merge patch. Raises BadPatch."""
    directive = patch.get(_PATCH, _ABSENT)
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != _PATCH}
    if directive == "delete":
        return {}
    if directive is not _ABSENT:
        raise BadPatch(f"unknown patch type: {directive} in map: {patch}")
    found = _retained(original, patch)
    orders = {name.removeprefix(_ORDER): order for name, order in patch.items() if name.startswith(_ORDER)}
    for name, value in patch.items():
        if name.startswith(_DELETE):
            key = name.removeprefix(_DELETE)
            found |= {key: [one for one in found[key] if one not in value]} if key in found else {}
        elif name != _RETAIN and not name.startswith(_ORDER):
            _set(found, name, _merged(type_.child(name) or ANY, found.get(name, _ABSENT), value, orders.get(name)))
    for name, order in orders.items():
        if name in found and name not in patch:
            found[name] = _ordered(type_.child(name) or ANY, found[name], _checked(order), found[name])
    return found


def _set(found: Document, name: str, value: Any) -> None:
    if value is _ABSENT:
        found.pop(name, None)
    else:
        found[name] = value


def _merged(type_: Type, original: Any, patch: Any, order: Any) -> Any:
    """Return the new value of a field, or _ABSENT where the patch takes it away."""
    if patch is None:
        return _ABSENT
    if isinstance(original, dict) and isinstance(patch, dict):
        return patch if "replace" in type_.strategies else merge(type_, original, patch)
    if isinstance(original, list) and isinstance(patch, list):
        if "merge" not in type_.strategies:
            return patch
        return _merged_list(type_, original, patch, _checked(order) if order is not None else None)
    return _plain(patch)


def _merged_list(type_: Type, original: list[Any], patch: list[Any], order: list[Any] | None) -> list[Any]:
    key = type_.merge_key
    if not key:
        both = list(dict.fromkeys([*original, *patch]))
        return _ordered(type_, both, order or patch, original)
    if order is not None:
        _same_order(patch, order, key)
    if any(isinstance(one, dict) and one.get(_PATCH) == "replace" for one in patch):
        return [one for one in patch if _PATCH not in one]
    found = list(original)
    for one in patch:
        if not isinstance(one, dict) or key not in one:
            raise BadPatch(f"map: {_go(one)} does not contain declared merge key: {key}")
        matching = [index for index, other in enumerate(found) if other.get(key) == one[key]]
        if one.get(_PATCH) == "delete":
            found = [other for other in found if other.get(key) != one[key]]
        elif _PATCH in one:
            raise BadPatch(f"unknown patch type: {one[_PATCH]} in map: {_go(one)}")
        elif matching:
            found[matching[0]] = merge(type_.values or ANY, found[matching[0]], one)
        else:
            found.append(_plain(one))
    return _ordered(type_, found, order or [one for one in patch if _PATCH not in one], original)


def _ordered(type_: Type, merged: list[Any], order: list[Any], original: list[Any]) -> list[Any]:
    """Return a list's items with those of `order` in its order, and the others near where they stood."""

    def name(one: Any) -> Any:
        return one.get(type_.merge_key) if isinstance(one, dict) else one

    wanted = {name(one): index for index, one in enumerate(order)}
    stood = {name(one): index for index, one in enumerate(original)}
    ours = sorted((one for one in merged if name(one) in wanted), key=lambda one: wanted[name(one)])
    theirs = [one for one in merged if name(one) not in wanted]
    found: list[Any] = []
    while ours and theirs:
        # One of the server's goes first only where it stood before the next one of the patch.
        left, right = name(theirs[0]), name(ours[0])
        first = left in stood and right in stood and stood[left] < stood[right]
        found.append((theirs if first else ours).pop(0))
    return [*found, *ours, *theirs]


def _same_order(patch: list[Any], order: list[Any], key: str) -> None:
    """Raise BadPatch unless the items of a patch are all in its order, and stand in it."""
    wanted = [one.get(key) for one in patch if _PATCH not in one]
    left = iter([one.get(key) for one in order])
    if not all(any(one == other for other in left) for one in wanted):
        text = f"The order in patch list:\n{_go(patch)}\n doesn't match $setElementOrder list:\n{_go(order)}\n"
        raise BadPatch(text)


def _retained(original: Document, patch: Document) -> Document:
    if _RETAIN not in patch:
        return dict(original)
    kept = patch[_RETAIN]
    named = [name for name, value in patch.items() if value is not None and not name.startswith("$")]
    if not isinstance(kept, list) or any(name not in kept for name in named):
        raise BadDirective("invalid patch format of retainKeys")
    return {name: value for name, value in original.items() if name in kept}


def _checked(order: Any) -> list[Any]:
    if not isinstance(order, list):
        raise BadPatch(f"expected a []interface {{}}, but received a {_go_type(order)}")
    return order


def _plain(value: Any) -> Any:
    """Return a value that was not there before without nulls and directives, or _ABSENT where it is one."""
    if isinstance(value, dict):
        if _PATCH in value:
            return _ABSENT
        plain = {name: _plain(child) for name, child in value.items() if child is not None}
        return {name: child for name, child in plain.items() if child is not _ABSENT}
    if isinstance(value, list):
        return [one for one in map(_plain, value) if one is not _ABSENT]
    return value


def _go(value: Any) -> str:
    """Return a value as Go's %v prints it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{_go(child)}' for name, child in sorted(value.items()))}]"
    return f"[{' '.join(map(_go, value))}]" if isinstance(value, list) else str(value)


def _go_type(value: Any) -> str:
    return {str: "string", dict: "map[string]interface {}", bool: "bool"}.get(type(value), "float64")
