"""Causes: the validation errors of a field, with the API server's messages.

https://github.com/kubernetes/apimachinery/blob/master/pkg/util/validation/field/errors.go
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.failures import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

IMMUTABLE = "field is immutable"


def required(path: str, detail: str = "") -> Cause:
    """Return the cause for a missing required field."""
    return Cause("FieldValueRequired", path, _detailed("Required value", detail))


def invalid(path: str, value: Any, detail: str) -> Cause:
    """Return the cause for a value that breaks a rule."""
    return Cause("FieldValueInvalid", path, _detailed(f"Invalid value: {_shown(value)}", detail))


def not_supported(path: str, value: Any, supported: Iterable[str]) -> Cause:
    """Return the cause for an unsupported value."""
    listed = ", ".join(json.dumps(value) for value in supported)
    text = _detailed(f"Unsupported value: {_shown(value)}", f"supported values: {listed}")
    return Cause("FieldValueNotSupported", path, text)


def duplicate(path: str, value: Any) -> Cause:
    """Return the cause for a repeated value."""
    return Cause("FieldValueDuplicate", path, f"Duplicate value: {_shown(value)}")


def not_found(path: str, value: Any) -> Cause:
    """Return the cause for a dangling reference."""
    return Cause("FieldValueNotFound", path, f"Not found: {_shown(value)}")


def forbidden(path: str, detail: str) -> Cause:
    """Return the cause for a field that must not be set."""
    return Cause("FieldValueForbidden", path, _detailed("Forbidden", detail))


def too_long(path: str, most: int) -> Cause:
    """Return the cause for a value of too many bytes."""
    return Cause("FieldValueTooLong", path, f"Too long: may not be more than {most} bytes")


def one_of(path: str, value: Any, supported: tuple[str, ...], *, needed: bool = False) -> Iterator[Cause]:
    """Yield the cause where a value is unsupported, or required and not set."""
    if value in (None, ""):
        if needed:
            yield required(path)
    elif value not in supported:
        yield not_supported(path, value, supported)


def not_negative(path: str, value: Any) -> Iterator[Cause]:
    """Yield the cause where a number is less than 0."""
    if isinstance(value, int) and value < 0:
        yield invalid(path, value, "must be greater than or equal to 0")


def in_range(path: str, value: Any, least: int, most: int) -> Iterator[Cause]:
    """Yield the cause where a set number is out of range."""
    if isinstance(value, int) and not least <= value <= most:
        yield invalid(path, value, f"must be between {least} and {most}, inclusive")


def unchanged(path: str, new: Any, old: Any) -> Iterator[Cause]:
    """Yield the cause where an immutable field changed."""
    if new != old:
        yield invalid(path, new, IMMUTABLE)


def _detailed(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
