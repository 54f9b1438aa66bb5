"""Comparing what is wanted with what Azure answers, which says the same in more ways than one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflowaks.changes import Difference

_RESOURCE_ID = "/subscriptions/"
_SKU = re.compile(r"(^|\.)sku\.|Sku$")


def compare(want: Any, have: Any, path: str = "") -> tuple[Difference, ...]:
    """Return where `have` is not what `want` names, at every depth.

    Objects are compared key by key; lists element by element where they are equally long, and lists of text, which to
    Azure are sets, in any order. What is empty is the same as what is missing. Names, resource IDs and SKUs are
    compared without case, locations also without spaces, as Azure does.
    """
    if isinstance(want, Mapping) and (isinstance(have, Mapping) or (have is None and want)):
        return tuple(
            difference
            for key, value in want.items()
            for difference in _compare_member(key, value, have or {}, f"{path}.{key}" if path else str(key))
        )
    if _are_texts(want) and _are_texts(have):
        want, have = sorted(want), sorted(have)
    if isinstance(want, (list, tuple)) and isinstance(have, (list, tuple)) and len(want) == len(have):
        return tuple(
            difference
            for index, (wanted, found) in enumerate(zip(want, have, strict=True))
            for difference in compare(wanted, found, f"{path}[{index}]")
        )
    return () if _same(want, have, path) else (Difference(path, have, want),)


def _compare_member(key: str, want: Any, have: Mapping[str, Any], path: str) -> tuple[Difference, ...]:
    spelling = next((one for one in have if one.lower() == key.lower()), key)
    if key.startswith(_RESOURCE_ID) and spelling not in have:
        # A member of a map of resources, such as userAssignedIdentities: that it is there is what matters.
        return (Difference(path, None, want),)
    return compare(want, have.get(spelling), path)


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)


def _same(want: Any, have: Any, path: str) -> bool:
    if isinstance(want, str) and isinstance(have, str):
        if path == "location":
            return want.replace(" ", "").lower() == have.replace(" ", "").lower()
        if want.startswith(_RESOURCE_ID) or _SKU.search(path):
            return want.lower() == have.lower()
    if isinstance(want, (Mapping, list, tuple)) and not want:
        return not have
    return bool(want == have)
