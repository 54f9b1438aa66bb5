"""Field sets: the fields of an object that a manager owns, and their form in managedFields (FieldsV1).

A path is a tuple of elements as in FieldsV1: `f:spec`, `k:{"name":"web"}`, `v:"a"`, `i:0`.
https://github.com/kubernetes-sigs/structured-merge-diff/tree/master/fieldpath
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.schema import Type

Path = tuple[str, ...]
FieldSet = frozenset[Path]


def field(name: str) -> str:
    """Return the element for a field of a struct or a key of a map."""
    return f"f:{name}"


def key(fields: Document) -> str:
    """Return the element for the item of a list that has these key fields."""
    return f"k:{json.dumps(fields, sort_keys=True, separators=(',', ':'), ensure_ascii=False)}"


def value(item: object) -> str:
    """Return the element for an item of a set."""
    return f"v:{json.dumps(item, separators=(',', ':'), ensure_ascii=False)}"


def from_fields(fields: Document, above: Path = ()) -> FieldSet:
    """Return the set of a FieldsV1 document."""
    paths: set[Path] = set()
    for element, below in fields.items():
        if element == ".":
            paths.add(above)
        elif below:
            paths |= from_fields(below, (*above, element))
        else:
            paths.add((*above, element))
    return frozenset(paths)


def to_fields(fields: FieldSet) -> Document:
    """Return the FieldsV1 document of a set."""
    document: Document = {}
    for path in sorted(fields, key=_order):
        node = document
        for element in path[:-1]:
            node = node.setdefault(element, {})
        node.setdefault(path[-1], {})
    return _marked(document, fields, ())


def text(path: Path) -> str:
    """Return a path as conflicts and errors write it: `.spec.ports[port=80,protocol="TCP"].name`."""
    return "".join(_text(element) for element in path)


def in_order(fields: Iterable[Path]) -> Iterator[Path]:
    """Yield paths in the order of conflict messages: in each branch, fields nearer the root first."""
    return iter(
        sorted(fields, key=lambda path: [*((1, *_element(element)) for element in path[:-1]), (0, *_element(path[-1]))])
    )


def below(fields: FieldSet, roots: Iterable[Path]) -> FieldSet:
    """Return the paths of a set that are one of `roots` or lie under one."""
    starts = tuple(roots)
    return frozenset(path for path in fields if any(path[: len(start)] == start for start in starts))


def with_named_parents(fields: FieldSet, type_: Type) -> FieldSet:
    """Return a set with the struct fields on the way to its paths, which sets leave out."""
    extended = set(fields)
    for path in fields:
        node: Type | None = type_
        for depth, element in enumerate(path[:-1], 1):
            if node is None:
                break
            name = element[2:]
            if element.startswith("f:"):
                if name in node.fields:
                    extended.add(path[:depth])
                node = node.child(name)
            else:
                node = node.values
    return frozenset(extended)


def _marked(document: Document, fields: FieldSet, above: Path) -> Document:
    return {
        element: ({".": {}} if (*above, element) in fields else {}) | _marked(below_it, fields, (*above, element))
        if below_it
        else {}
        for element, below_it in document.items()
    }


def _text(element: str) -> str:
    form, content = element[0], element[2:]
    if form == "f":
        return f".{content}"
    if form == "k":
        return f"[{','.join(f'{name}={_quoted(item)}' for name, item in json.loads(content).items())}]"
    return f"[={_quoted(json.loads(content))}]" if form == "v" else f"[{content}]"


def _quoted(item: Any) -> str:
    return json.dumps(item, ensure_ascii=False)


def _element(element: str) -> tuple[int, str]:
    return "fkvi".index(element[0]), element


def _order(path: Path) -> list[tuple[int, str]]:
    return [_element(element) for element in path]
