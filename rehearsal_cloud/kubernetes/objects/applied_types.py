"""Type checks of applied objects against their schema, with structured-merge-diff's messages.

https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/validate.go
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects import field_sets, structured_merge
from rehearsal_cloud.kubernetes.objects.schema import ANY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.kubernetes.objects.schema import Type


def check(type_: Type, document: Any) -> str:
    """Return the error of an applied object, or ""."""
    wrong = [f"{path}: {text}" if path else text for path, text in _wrong(type_, document, "")]
    return wrong[0] if len(wrong) == 1 else "\n  ".join(["errors:", *wrong]) if wrong else ""


def _wrong(type_: Type, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if value is None or type_.form == "any":
        return
    if type_.form in ("struct", "map"):
        yield from _wrong_fields(type_, value, path)
    elif type_.form == "list":
        yield from _wrong_items(type_, value, path)
    elif (text := _wrong_scalar(type_, value)) is not None:
        yield path, text


def _wrong_fields(type_: Type, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield path, f"expected map, got &{{{_printed(value)}}}"
        return
    for name, child in sorted(value.items()):
        inner = type_.child(name)
        if inner is None:
            yield f"{path}.{name}", "field not declared in schema"
            return
        yield from _wrong(inner, child, f"{path}.{name}")


def _wrong_items(type_: Type, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list):
        yield path, f"expected list, got &{{{_printed(value)}}}"
        return
    inner = type_.values or ANY
    elements: set[str] = set()
    for index, item in enumerate(value):
        where = f"[{index}]"
        if not type_.atomic:
            try:
                element = structured_merge.element(type_, item)
            except ValueError as error:
                yield path, f"element {index}: {error}"
                return
            where = field_sets.text((element,))
            if element in elements:
                yield path, f"duplicate entries for key {where}"
            elements.add(element)
        yield from _wrong(inner, item, f"{path}{where}")


def _wrong_scalar(type_: Type, value: Any) -> str | None:
    structured = isinstance(value, (dict, list))
    if type_.form in ("quantity", "int-or-string"):
        return f"expected any scalar, got &{{{_printed(value)}}}" if structured else None
    if type_.form == "string":
        shown = json.dumps(value, separators=(",", ":"))
        return None if isinstance(value, str) else f"expected string, got &value.valueUnstructured{{Value:{shown}}}"
    if type_.form == "boolean":
        return None if isinstance(value, bool) else f"expected boolean, got &{{{_printed(value)}}}"
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return None if numeric else f"expected numeric (int or float), got {_go_type(value)}"


def _printed(value: Any) -> str:
    """Return a value as Go's %v prints it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{_printed(child)}' for name, child in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(_printed(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def _go_type(value: Any) -> str:
    names = {bool: "bool", str: "string", dict: "map[string]interface {}", list: "[]interface {}"}
    return names[type(value)]
