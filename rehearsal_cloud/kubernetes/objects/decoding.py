"""Decoding: the API server's conversion of a client's document into Go's types, the first step of a write.

Unknown fields are dropped with a warning, types are checked with the messages of Go's JSON decoder, and
the document comes out as Go's types would write it: quantities in their canonical form, unset fields left out.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from rehearsal_cloud.kubernetes import quantities
from rehearsal_cloud.kubernetes.failures import bad_request
from rehearsal_cloud.kubernetes.objects import custom_schemas, zero_values
from rehearsal_cloud.kubernetes.objects.schema import ANY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.kinds import Kind
    from rehearsal_cloud.kubernetes.objects.schema import Schemas, Type

FieldValidation = Literal["Strict", "Warn", "Ignore"]

_BOUNDS = {"int32": 2**31, "int64": 2**63}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def decode(
    schemas: Schemas,
    kind: Kind,
    document: Document,
    field_validation: FieldValidation = "Warn",
    duplicates: Sequence[str] = (),
) -> tuple[Document, list[str]]:
    """Return the document as the server stores it and the warnings for the client.

    `duplicates` are the paths that the client's text names twice. Raises Failure (400) for wrong types, and for unknown
    and duplicate fields when `field_validation` is Strict.
    """
    _same_kind(kind, document)
    type_ = schemas.of(kind)
    reading = _Reading()
    try:
        decoded: Document = reading.struct(type_, document, "", kind.kind)
    except _WrongType as error:
        raise bad_request(f"{_prefix(kind)}: {error}") from error
    decoded = {"apiVersion": kind.api_version, "kind": kind.kind} | decoded
    if kind.custom:
        decoded = custom_schemas.default(type_, decoded)
    return decoded, field_warnings(kind, duplicates, field_validation, reading.unknown)


def field_warnings(
    kind: Kind, duplicates: Sequence[str], field_validation: FieldValidation, unknown: Sequence[str] = ()
) -> list[str]:
    """Return the warnings about unknown and duplicate fields. Raises Failure (400) where validation is Strict."""
    texts = [f'unknown field "{path}"' for path in unknown] + [f'duplicate field "{path}"' for path in duplicates]
    if texts and field_validation == "Strict":
        raise bad_request(f"{_prefix(kind)}: strict decoding error: {', '.join(texts)}")
    return texts if field_validation == "Warn" else []


def _prefix(kind: Kind) -> str:
    return f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'


def _same_kind(kind: Kind, document: Any) -> None:
    if not isinstance(document, dict):
        raise bad_request(
            f"{_prefix(kind)}: json: cannot unmarshal {_json(document)} into Go value of type v1.TypeMeta"
        )
    version, name = document.get("apiVersion") or kind.api_version, document.get("kind") or kind.kind
    if version != kind.api_version:
        text = f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        raise bad_request(text)
    if name != kind.kind:
        raise bad_request(f"the kind in the data ({name}) does not match the expected kind ({kind.kind})")


class _WrongType(Exception):
    """A value of a type that Go's decoder rejects."""


class _Reading:
    """The decoding of one document; collects the paths of unknown fields."""

    def __init__(self) -> None:
        self.unknown: list[str] = []

    def value(self, type_: Type, value: Any, path: str, struct: str) -> Any:
        """Return a value as Go would write it; `struct` is the type that holds it, for errors."""
        if type_.custom:
            return self._custom(type_, value, path, struct)
        if type_.form == "struct":
            if isinstance(value, dict):
                return self.struct(type_, value, path, type_.name)
            raise _mismatch(value, path, struct, f"v1.{type_.name}")
        if type_.form == "map":
            return self._map(type_, value, path, struct)
        if type_.form == "list":
            return self._list(type_, value, path, struct)
        if type_.form == "any":
            return value
        return _scalar(type_, value, path, struct)

    def struct(self, type_: Type, value: Document, path: str, struct: str) -> Document:
        """Return a struct with the known fields that are set and not zero."""
        fields: Document = {}
        for name, child in value.items():
            inner = type_.child(name)
            below = f"{path}.{name}" if path else name
            if inner is None:
                self.unknown.append(below)
                continue
            if child is None and not type_.custom:
                continue
            read = self.value(inner, child, below, struct)
            if not zero_values.omitted(type_, name, inner, read):
                fields[name] = read
        if not type_.custom:
            for name in type_.fields:
                if name not in fields and zero_values.by_value(type_, name):
                    fields[name] = self.struct(type_.fields[name], {}, path, struct)
        return fields

    def _custom(self, type_: Type, value: Any, path: str, struct: str) -> Any:
        """Return a custom resource's value without unknown fields. Validation checks its types."""
        if isinstance(value, dict) and type_.form in ("struct", "map"):
            return self.struct(type_, value, path, struct)
        if isinstance(value, list) and type_.form == "list":
            inner = type_.values or ANY
            return [self.value(inner, item, f"{path}[{index}]", struct) for index, item in enumerate(value)]
        return value

    def _map(self, type_: Type, value: Any, path: str, struct: str) -> Any:
        inner = type_.values or ANY
        if not isinstance(value, dict):
            raise _mismatch(value, path, struct, f"map[string]{_go_type(inner)}")
        empty = "" if inner.form == "string" else None
        return {
            name: empty if child is None else self.value(inner, child, f"{path}.{name}", struct)
            for name, child in value.items()
        }

    def _list(self, type_: Type, value: Any, path: str, struct: str) -> Any:
        inner = type_.values or ANY
        if not isinstance(value, list):
            raise _mismatch(value, path, struct, f"[]{_go_type(inner)}")
        empty: Any = {"string": "", "struct": {}}.get(inner.form)
        return [
            self.value(inner, empty if item is None else item, f"{path}[{index}]", struct)
            for index, item in enumerate(value)
        ]


def _scalar(type_: Type, value: Any, path: str, struct: str) -> Any:
    if type_.form == "quantity":
        return _quantity(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if type_.form == "int-or-string":
        if isinstance(value, str) or (number and value == int(value)):
            return value
        raise _mismatch(value, path, struct, "intstr.IntOrString")
    if type_.form == "integer":
        name = type_.node.get("format", "int64")
        if isinstance(value, int) and number and -_BOUNDS[name] <= value < _BOUNDS[name]:
            return value
        raise _mismatch(value, path, struct, name, digits=number)
    if type_.form == "number" and number:
        return value
    if type_.form == "boolean" and isinstance(value, bool):
        return value
    if type_.form == "string" and isinstance(value, str):
        return _text(type_, value)
    raise _mismatch(value, path, struct, _go_type(type_))


def _text(type_: Type, value: str) -> str:
    form = type_.node.get("format")
    if form == "byte":
        return _bytes(value)
    if form == "date-time" and value:
        return _time(value)
    return value


def _quantity(value: Any) -> str:
    if isinstance(value, (dict, list, bool)):
        raise _WrongType(quantities.WRONG)
    try:
        return quantities.canonical(value)
    except ValueError as error:
        raise _WrongType(str(error)) from error


def _bytes(value: str) -> str:
    try:
        return base64.b64encode(base64.b64decode(value.replace("\n", ""), validate=True)).decode()
    except binascii.Error as error:
        legal = re.match(r"[A-Za-z0-9+/]*={0,2}", value)
        raise _WrongType(f"illegal base64 data at input byte {legal.end() if legal else 0}") from error


def _time(value: str) -> str:
    try:
        if not _TIME.fullmatch(value):
            raise ValueError  # noqa: TRY301 - both ways to be no time end alike
        read = datetime.fromisoformat(value)
    except ValueError as error:
        layout = "2006-01-02T15:04:05Z07:00"
        raise _WrongType(f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"') from error
    # MicroTime keeps its six digits, Time has none.
    digits = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in value else "%Y-%m-%dT%H:%M:%SZ"
    return read.astimezone(UTC).strftime(digits)


def _mismatch(value: Any, path: str, struct: str, expected: str, *, digits: bool = False) -> _WrongType:
    shown = f"number {json.dumps(value)}" if digits else _json(value)
    plain = re.sub(r"\[\d+\]", "", path)
    return _WrongType(f"json: cannot unmarshal {shown} into Go struct field {struct}.{plain} of type {expected}")


def _json(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", int: "number", float: "number", dict: "object", list: "array"}
    return names[type(value)]


def _go_type(type_: Type) -> str:
    if type_.form == "struct":
        return f"v1.{type_.name}"
    if type_.form in ("map", "list"):
        inner = _go_type(type_.values or ANY)
        return f"map[string]{inner}" if type_.form == "map" else f"[]{inner}"
    if type_.form == "integer":
        return str(type_.node.get("format", "int64"))
    named = {"boolean": "bool", "number": "float64", "quantity": "resource.Quantity"}
    return named.get(type_.form, "string")
