"""The part of JSONPath that printer columns of custom kinds use: fields, indices and one-condition filters.

https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(
    r"""\.(?P<field>(?:[\w-]|\\\.)+)"""
    r"""|\[(?P<index>-?\d+|\*)\]"""
    r"""|\[['"](?P<quoted>[^'"]+)['"]\]"""
    r"""|\[\?\(@(?P<path>(?:\.[\w-]+)+)\s*==\s*['"](?P<value>[^'"]*)['"]\)\]"""
)


def first(document: Any, path: str) -> Any:
    """Return the first value at the path (`.status.conditions[?(@.type=="Ready")].status`), or None."""
    values = [document]
    for step in _STEP.finditer(path):
        values = [value for parent in values for value in _taken(parent, step) if value is not None]
    return values[0] if values else None


def _taken(value: Any, step: re.Match[str]) -> list[Any]:
    field = step["quoted"] or (step["field"] or "").replace("\\.", ".")
    if field:
        return [value.get(field)] if isinstance(value, dict) else []
    if not isinstance(value, list):
        return []
    if step["path"]:
        return [item for item in value if first(item, step["path"]) == step["value"]]
    if step["index"] == "*":
        return value
    return value[int(step["index"]) :][:1]
