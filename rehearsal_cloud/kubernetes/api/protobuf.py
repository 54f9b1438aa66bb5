"""Protobuf bodies: those that kubectl sends for `auth can-i`, `create`, `debug` and `drain`.

The envelope is https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding. Answers are never
protobuf: all clients that ask for it also accept JSON.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rehearsal_cloud.documents import Document

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _LENGTH = 0, 2
_CONTINUES, _BITS = 0x80, 7
_GREATEST, _UNSIGNED = 2**63 - 1, 2**64


@cache
def _messages() -> dict[str, dict[int, tuple[str, str]]]:
    """Return name and type by number of the fields of each message."""
    lines = Path(__file__).with_name("messages.txt").read_text(encoding="utf-8").splitlines()
    messages = (line.split(": ", 1) for line in lines if not line.startswith("#"))
    return {
        name: {int(number): (key, kind) for number, key, kind in map(str.split, fields.split(", "))}
        for name, fields in messages
    }


def read(body: bytes) -> Document | None:
    """Return the document of a body; None for unknown kinds or fields.

    Raises ValueError where it is not Kubernetes' protobuf.
    """
    if not body.startswith(_MAGIC):
        raise ValueError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = _message(body.removeprefix(_MAGIC), "Unknown")
        named = {key: envelope[key] for key in ("apiVersion", "kind")}
        versioned = f"{named['apiVersion']}.{named['kind']}"
        name = versioned if versioned in _messages() else named["kind"]
        return {**named, **_message(envelope.get("raw", b""), name)}
    except LookupError:
        return None


def _message(data: bytes, name: str) -> Document:
    fields = _messages()[name]
    document: Document = {}
    for number, value in _fields(data):
        key, kind = fields[number]
        if key == "&":
            document |= _message(value, kind)
        elif kind.startswith("*"):
            document.setdefault(key, []).append(_value(value, kind[1:]))
        elif kind.startswith("{}"):
            entry = dict(_fields(value))
            document.setdefault(key, {})[entry[1].decode()] = _value(entry.get(2, b""), kind[2:])
        elif kind != "Ignored" and (read_value := _value(value, kind)) != "":
            document[key] = read_value  # empty strings and times are left out, as in JSON
    return document


def _value(value: Any, kind: str) -> Any:
    reader = _READERS.get(kind)
    return reader(value) if reader is not None else _message(value, kind)


def _integer(value: int) -> int:
    return value - _UNSIGNED if value > _GREATEST else value


def _time(value: bytes) -> str:
    seconds = dict(_fields(value)).get(1)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""


def _integer_or_string(value: bytes) -> int | str:
    parts = dict(_fields(value))
    return bytes(parts.get(3, b"")).decode() if parts.get(1) else _integer(parts.get(2, 0))


_READERS: dict[str, Callable[[Any], Any]] = {
    "string": bytes.decode,
    "bytes": lambda value: base64.b64encode(value).decode(),
    "bool": bool,
    "int": _integer,
    "raw": bytes,
    "Time": _time,
    "Quantity": lambda value: dict(_fields(value)).get(1, b"").decode(),
    "IntOrString": _integer_or_string,
    "ExtraValue": lambda value: [item.decode() for _, item in _fields(value)],
}


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the numbers and values of a message's fields: numbers, or bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 0b111
        value, at = _varint(data, at)
        if wire == _LENGTH:
            yield number, data[at : at + value]
            at += value
        elif wire == _VARINT:
            yield number, value
        else:
            raise LookupError(wire)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & ~_CONTINUES) << shift
        shift += _BITS
        if not byte & _CONTINUES:
            return value, at
