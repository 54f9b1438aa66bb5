"""What other field managers have added to an object of the steps: fields that an apply neither sets nor removes.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from airflowaks.kube.client import FIELD_MANAGER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


# Where people set something; annotations of pods are those of restarts.
_PLACES = ("spec.template.spec.", "data.")


class Addition(NamedTuple):
    """A field: its path as differences show it and as a JSON pointer (RFC 6901), who has set it, and when."""

    path: str
    pointer: tuple[str | int, ...]
    by: str
    at: str


def additions(document: Mapping[str, Any], applied: Mapping[str, Any]) -> list[Addition]:
    """Return the fields that others have set and an apply does not, in pods' specs and ConfigMaps' data.

    `applied` is the answer of a dry run that takes fields over: a field that others have changed is theirs alone in
    `document`, and would be an addition otherwise.
    """
    entries = applied["metadata"].get("managedFields", ())
    own = [entry["fieldsV1"] for entry in entries if entry["manager"] == FIELD_MANAGER]
    return [
        Addition(path, pointer, entry["manager"], entry.get("time", "an unknown time"))
        for entry in document["metadata"].get("managedFields", ())
        if own and entry["manager"] != FIELD_MANAGER and not entry.get("subresource")
        for path, pointer in _added(entry.get("fieldsV1", {}), own, document)
        if path.startswith(_PLACES)
    ]


def removal(document: Mapping[str, Any], added: Sequence[Addition]) -> list[dict[str, Any]]:
    """Return the JSON patch (RFC 6902) that removes fields, and does nothing to a newer version of the object."""
    version = {"op": "test", "path": "/metadata/resourceVersion", "value": document["metadata"]["resourceVersion"]}
    # From the end of each list, so that the others keep their places.
    pointers = sorted({addition.pointer for addition in added}, key=_place, reverse=True)
    return [version, *({"op": "remove", "path": "".join(map(_escaped, pointer))} for pointer in pointers)]


def _added(
    fields: Mapping[str, Any], own: Sequence[Mapping[str, Any]], value: Any
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    for name, below in fields.items():
        step = _step(name, value)
        if step is None:
            continue
        shown, part, item = step
        of_own = [each[name] for each in own if name in each]
        if not of_own:
            elements = (each for key in below if key.startswith("k:") and (each := _step(key, item)))
            yield "".join([shown, *(element for element, *_ in elements)]), (part,)
        for path, pointer in _added(below, of_own, item) if of_own else ():
            yield f"{shown}{path if path.startswith('[') else f'.{path}'}", (part, *pointer)


def _step(name: str, value: Any) -> tuple[str, str | int, Any] | None:
    """Return a member or an element as it is shown, its key or index, and what is there; None if nothing is."""
    kind, text = name[:2], name[2:]
    if kind == "f:" and isinstance(value, Mapping) and text in value:
        return text, text, value[text]
    if kind == "k:" and isinstance(value, list):
        members: dict[str, Any] = json.loads(text)
        for index, item in enumerate(value):
            if isinstance(item, Mapping) and members.items() <= item.items():
                return f"[{members.get('name', text)}]", index, item
    return None


def _place(pointer: tuple[str | int, ...]) -> list[tuple[int, str]]:
    return [(part, "") if isinstance(part, int) else (-1, part) for part in pointer]


def _escaped(part: str | int) -> str:
    return "/" + str(part).replace("~", "~0").replace("/", "~1")
