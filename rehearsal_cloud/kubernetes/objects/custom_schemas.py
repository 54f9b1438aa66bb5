"""Custom schemas: default and validate custom resources by the openAPIV3Schema of their definition.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting
"""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.failures import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.schema import Type


def default(type_: Type, document: Document) -> Document:
    """Return a custom resource with the defaults of its schema; a null counts as unset if there is a default."""
    defaulted: Document = _defaulted(type_, document)
    return defaulted


def validate(type_: Type, document: Document) -> list[Cause]:
    """Return the validation errors of a custom resource."""
    return [
        cause
        for name, child in type_.fields.items()
        if name in document
        for cause in _wrong(child, document[name], name)
    ]


def _defaulted(type_: Type, value: Any) -> Any:
    if isinstance(value, dict) and type_.form in ("struct", "map"):
        fields = dict(value)
        for name, child in type_.fields.items():
            node = child.node
            if "default" in node and (name not in fields or (fields[name] is None and not node.get("nullable"))):
                fields[name] = copy.deepcopy(node["default"])
        return {
            name: _defaulted(inner, child) if (inner := type_.child(name)) and inner.custom else child
            for name, child in fields.items()
        }
    if isinstance(value, list) and type_.form == "list" and type_.values:
        return [_defaulted(type_.values, item) for item in value]
    return value


def _wrong(type_: Type, value: Any, path: str) -> Iterator[Cause]:
    if not type_.custom:
        return
    node = type_.node
    if value is None and node.get("nullable"):
        return
    expected = _expected_type(type_)
    if expected and not _has_type(expected, value):
        shown = _kind(value)
        text = f'Invalid value: "{shown}": {path} in body must be of type {expected}: "{shown}"'
        yield Cause("FieldValueTypeInvalid", path, text)
        return
    yield from _wrong_value(node, value, path)
    yield from _wrong_inside(type_, value, path)


def _wrong_inside(type_: Type, value: Any, path: str) -> Iterator[Cause]:
    if isinstance(value, dict):
        for name in type_.node.get("required", ()):
            if name not in value:
                yield Cause("FieldValueRequired", f"{path}.{name}", "Required value")
        for name, child in value.items():
            inner = type_.child(name)
            if inner is not None:
                yield from _wrong(inner, child, f"{path}.{name}")
    elif isinstance(value, list) and type_.values:
        for index, item in enumerate(value):
            yield from _wrong(type_.values, item, f"{path}[{index}]")


def _wrong_value(node: Document, value: Any, path: str) -> Iterator[Cause]:
    shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if "enum" in node and value not in node["enum"]:
        listed = ", ".join(json.dumps(choice) for choice in node["enum"])
        yield Cause("FieldValueNotSupported", path, f"Unsupported value: {shown}: supported values: {listed}")
    if isinstance(value, str):
        yield from _wrong_text(node, value, path)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and value < node.get("minimum", value):
        why = f"{path} in body should be greater than or equal to {node['minimum']}"
        yield Cause("FieldValueInvalid", path, f"Invalid value: {shown}: {why}")
    if number and value > node.get("maximum", value):
        why = f"{path} in body should be less than or equal to {node['maximum']}"
        yield Cause("FieldValueInvalid", path, f"Invalid value: {shown}: {why}")
    if isinstance(value, list) and len(value) < node.get("minItems", 0):
        why = f"{path} in body should have at least {node['minItems']} items"
        yield Cause("FieldValueInvalid", path, f"Invalid value: {len(value)}: {why}")


def _wrong_text(node: Document, value: str, path: str) -> Iterator[Cause]:
    shown = json.dumps(value, ensure_ascii=False)
    if "pattern" in node and not re.search(node["pattern"], value):
        yield Cause(
            "FieldValueInvalid", path, f"Invalid value: {shown}: {path} in body should match '{node['pattern']}'"
        )
    if len(value) < node.get("minLength", 0):
        why = f"{path} in body should be at least {node['minLength']} chars long"
        yield Cause("FieldValueInvalid", path, f"Invalid value: {shown}: {why}")
    if len(value) > node.get("maxLength", len(value)):
        most = node["maxLength"]
        yield Cause("FieldValueTooLong", path, f"Too long: may not be more than {most} bytes")


def _expected_type(type_: Type) -> str:
    return "" if type_.form == "int-or-string" else str(type_.node.get("type", ""))


def _has_type(expected: str, value: Any) -> bool:
    kind = _kind(value)
    return kind == expected or (expected == "number" and kind == "integer")


def _kind(value: Any) -> str:
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    names = {type(None): "null", bool: "boolean", str: "string", int: "integer", dict: "object", list: "array"}
    return names[type(value)]
