"""Comparing what is wanted with what Azure answers, which says the same in more ways than one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflowaks.engine.changes import Difference

_RESOURCE_ID = "/subscriptions/"
_SKU = re.compile(r"(^|\.)sku\.|Sku$")


def compare(desired: Any, actual: Any, path: str = "") -> tuple[Difference, ...]:
    """Return where `have` is not what `want` names, at every depth.

    Objects are compared key by key; lists element by element where they are equally long, and lists of text, which to
    Azure are sets, in any order. What is empty is the same as what is missing. Names, resource IDs and SKUs are
    compared without case, locations also without spaces, as Azure does.
    """
    if isinstance(desired, Mapping) and (isinstance(actual, Mapping) or (actual is None and desired)):
        return tuple(
            difference
            for key, value in desired.items()
            for difference in _compare_member(key, value, actual or {}, f"{path}.{key}" if path else str(key))
        )
    if _are_texts(desired) and _are_texts(actual):
        desired, actual = sorted(desired), sorted(actual)
    if isinstance(desired, (list, tuple)) and isinstance(actual, (list, tuple)) and len(desired) == len(actual):
        return tuple(
            difference
            for index, (desired_item, actual_item) in enumerate(zip(desired, actual, strict=True))
            for difference in compare(desired_item, actual_item, f"{path}[{index}]")
        )
    return () if _same(desired, actual, path) else (Difference(path, actual, desired),)


def _compare_member(key: str, desired: Any, actual: Mapping[str, Any], path: str) -> tuple[Difference, ...]:
    spelling = next((name for name in actual if name.lower() == key.lower()), key)
    if key.startswith(_RESOURCE_ID) and spelling not in actual:
        # A member of a map of resources, such as userAssignedIdentities: that it is there is what matters.
        return (Difference(path, None, desired),)
    return compare(desired, actual.get(spelling), path)


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _same(desired: Any, actual: Any, path: str) -> bool:
    if isinstance(desired, str) and isinstance(actual, str):
        if path == "location":
            return desired.replace(" ", "").lower() == actual.replace(" ", "").lower()
        if desired.startswith(_RESOURCE_ID) or _SKU.search(path):
            return desired.lower() == actual.lower()
    if isinstance(desired, (Mapping, list, tuple)) and not desired:
        return not actual
    return bool(desired == actual)
