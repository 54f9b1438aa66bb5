"""Rules of config maps and secrets."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation.causes import forbidden, invalid, required, too_long, unchanged
from rehearsal_cloud.kubernetes.objects.validation.names import checked, config_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_MOST_BYTES = 1_048_576
_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def config_map(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a config map."""
    data, binary = document.get("data", {}), document.get("binaryData", {})
    if old:
        yield from _immutable(document, old, "data", "binaryData")
    for key in data:
        yield from checked(f"data[{key}]", key, config_key)
        if key in binary:
            yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    for key in binary:
        yield from checked(f"binaryData[{key}]", key, config_key)
    size = sum(len(text.encode()) for text in data.values()) + sum(_bytes(text) for text in binary.values())
    if size > _MOST_BYTES:
        yield too_long("[]", _MOST_BYTES)


def secret(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a secret."""
    data, type_ = document.get("data", {}), document["type"]
    if old:
        yield from unchanged("type", type_, old["type"])
        yield from _immutable(document, old, "data")
    for key in data:
        yield from checked(f"data[{key}]", key, config_key)
    if sum(_bytes(text) for text in data.values()) > _MOST_BYTES:
        yield too_long("data", _MOST_BYTES)
    for key in _NEEDED.get(type_, ()):
        if key not in data:
            yield required(f"data[{key}]")
        elif type_.startswith("kubernetes.io/dockerc"):
            yield from _json(f"data[{key}]", data[key])
    if type_ == "kubernetes.io/service-account-token":
        name = "kubernetes.io/service-account.name"
        if not document["metadata"].get("annotations", {}).get(name):
            yield required(f"metadata.annotations[{name}]")


def _immutable(new: Document, old: Document, *contents: str) -> Iterator[Cause]:
    """Yield what an update changes of an object that is immutable."""
    text = "field is immutable when `immutable` is set"
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden("immutable", text)
    for name in contents:
        if new.get(name, {}) != old.get(name, {}):
            yield forbidden(name, text)


def _bytes(text: str) -> int:
    return len(base64.b64decode(text))


def _json(path: str, text: str) -> Iterator[Cause]:
    try:
        json.loads(base64.b64decode(text))
    except ValueError as error:
        yield invalid(path, "<secret contents redacted>", str(error))
