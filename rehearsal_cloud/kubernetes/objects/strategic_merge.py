"""Strategic merge patches: merge by the patch strategies of Kubernetes' types, with directives.

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
    """A patch that cannot be merged, with the server's message."""


class BadDirective(BadPatch):
    """A patch with malformed directives: a client error (400); a BadPatch is a server error (500)."""


def merge(type_: Type, original: Document, patch: Document) -> Document:
    """Return `original` with a strategic merge patch. Raises BadPatch."""
    directive = patch.get(_PATCH, _ABSENT)
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != _PATCH}
    if directive == "delete":
        return {}
    if directive is not _ABSENT:
        raise BadPatch(f"unknown patch type: {directive} in map: {patch}")
    merged = _retained(original, patch)
    orders = {name.removeprefix(_ORDER): order for name, order in patch.items() if name.startswith(_ORDER)}
    for name, value in patch.items():
        if name.startswith(_DELETE):
            key = name.removeprefix(_DELETE)
            merged |= {key: [item for item in merged[key] if item not in value]} if key in merged else {}
        elif name != _RETAIN and not name.startswith(_ORDER):
            _set(merged, name, _merged(type_.child(name) or ANY, merged.get(name, _ABSENT), value, orders.get(name)))
    for name, order in orders.items():
        if name in merged and name not in patch:
            merged[name] = _ordered(type_.child(name) or ANY, merged[name], _checked(order), merged[name])
    return merged


def _set(merged: Document, name: str, value: Any) -> None:
    if value is _ABSENT:
        merged.pop(name, None)
    else:
        merged[name] = value


def _merged(type_: Type, original: Any, patch: Any, order: Any) -> Any:
    """Return the new value of a field, or _ABSENT where the patch removes it."""
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
        items = list(dict.fromkeys([*original, *patch]))
        return _ordered(type_, items, order or patch, original)
    if order is not None:
        _same_order(patch, order, key)
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in patch):
        return [item for item in patch if _PATCH not in item]
    merged = list(original)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise BadPatch(f"map: {_printed(item)} does not contain declared merge key: {key}")
        matching = [index for index, current in enumerate(merged) if current.get(key) == item[key]]
        if item.get(_PATCH) == "delete":
            merged = [current for current in merged if current.get(key) != item[key]]
        elif _PATCH in item:
            raise BadPatch(f"unknown patch type: {item[_PATCH]} in map: {_printed(item)}")
        elif matching:
            merged[matching[0]] = merge(type_.values or ANY, merged[matching[0]], item)
        else:
            merged.append(_plain(item))
    return _ordered(type_, merged, order or [item for item in patch if _PATCH not in item], original)


def _ordered(type_: Type, merged: list[Any], order: list[Any], original: list[Any]) -> list[Any]:
    """Return a list's items: those of `order` in its order, the remaining items near their old places."""

    def name(item: Any) -> Any:
        return item.get(type_.merge_key) if isinstance(item, dict) else item

    position = {name(item): index for index, item in enumerate(order)}
    stood = {name(item): index for index, item in enumerate(original)}
    patched = sorted((item for item in merged if name(item) in position), key=lambda item: position[name(item)])
    unpatched = [item for item in merged if name(item) not in position]
    ordered: list[Any] = []
    while patched and unpatched:
        # An unpatched item goes first only if it stood before the next patched item.
        left, right = name(unpatched[0]), name(patched[0])
        first = left in stood and right in stood and stood[left] < stood[right]
        ordered.append((unpatched if first else patched).pop(0))
    return [*ordered, *patched, *unpatched]


def _same_order(patch: list[Any], order: list[Any], key: str) -> None:
    """Raise BadPatch unless the items of a patch follow its $setElementOrder."""
    patch_keys = [item.get(key) for item in patch if _PATCH not in item]
    left = iter([item.get(key) for item in order])
    if not all(any(merge_key == placed for placed in left) for merge_key in patch_keys):
        text = (
            f"The order in patch list:\n{_printed(patch)}\n doesn't match $setElementOrder list:\n{_printed(order)}\n"
        )
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
    """Return a new value without nulls and directives, or _ABSENT where it is a directive."""
    if isinstance(value, dict):
        if _PATCH in value:
            return _ABSENT
        plain = {name: _plain(child) for name, child in value.items() if child is not None}
        return {name: child for name, child in plain.items() if child is not _ABSENT}
    if isinstance(value, list):
        return [item for item in map(_plain, value) if item is not _ABSENT]
    return value


def _printed(value: Any) -> str:
    """Return a value as Go's %v prints it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{_printed(child)}' for name, child in sorted(value.items()))}]"
    return f"[{' '.join(map(_printed, value))}]" if isinstance(value, list) else str(value)


def _go_type(value: Any) -> str:
    return {str: "string", dict: "map[string]interface {}", bool: "bool"}.get(type(value), "float64")
