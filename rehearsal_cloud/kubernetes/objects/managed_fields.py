"""Managed fields: who owns which fields of an object, kept in its metadata for every write.

The rules are those of https://github.com/kubernetes/apimachinery/tree/master/pkg/util/managedfields: entries of updates
are told apart by manager, version and subresource, entries of applies by manager and subresource.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects import field_sets, structured_merge
from rehearsal_cloud.kubernetes.objects.zero_values import zero

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.field_sets import FieldSet
    from rehearsal_cloud.kubernetes.objects.kinds import Kind
    from rehearsal_cloud.kubernetes.objects.schema import Schemas

_METADATA = (
    "annotations creationTimestamp clusterName generation managedFields name namespace resourceVersion selfLink uid"
)
_NEVER_OWNED = frozenset(
    [("f:apiVersion",), ("f:kind",), ("f:metadata",)]
    + [("f:metadata", f"f:{name}") for name in _METADATA.split() if name != "annotations"]
)
_MOST_UPDATERS = 10


@dataclass(frozen=True)
class Manager:
    """Who wrote: the entry of managedFields that a write goes to."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    @property
    def applies(self) -> bool:
        """Tell whether it owns by applying."""
        return self.operation == "Apply"

    @property
    def key(self) -> tuple[str, ...]:
        """Return what tells entries apart. An applier has one entry, in whatever version it applies."""
        return self.name, self.operation, "" if self.applies else self.api_version, self.subresource


@dataclass(frozen=True)
class Entry:
    """What one manager owns, and since when."""

    manager: Manager
    fields: FieldSet
    time: str = ""


Entries = dict[tuple[str, ...], Entry]


def entries(document: Document) -> Entries:
    """Return the entries of an object's managedFields."""
    found: Entries = {}
    for one in document.get("metadata", {}).get("managedFields") or ():
        manager = Manager(
            one.get("manager", ""), one.get("operation", ""), one.get("apiVersion", ""), one.get("subresource", "")
        )
        found[manager.key] = Entry(manager, field_sets.from_fields(one.get("fieldsV1") or {}), one.get("time") or "")
    return found


def with_entries(document: Document, found: Entries) -> Document:
    """Return an object whose managedFields are these entries: appliers first, then by time."""
    ordered = sorted(
        (one for one in found.values() if one.fields),
        key=lambda one: (
            one.manager.operation,
            one.time,
            one.manager.name,
            one.manager.api_version,
            one.manager.subresource,
        ),
    )
    metadata = {name: value for name, value in document.get("metadata", {}).items() if name != "managedFields"}
    return {
        **document,
        "metadata": metadata | ({"managedFields": [_written(one) for one in ordered]} if ordered else {}),
    }


def track(
    schemas: Schemas, kind: Kind, old: Document | None, new: Document, *, manager: str, subresource: str = ""
) -> Document:
    """Return `new`, a create's or an update's object, with managedFields that say what `manager` changed in `old`.

    An empty list of managedFields in `new` is a client's wish to start over; none at all keeps what `old` had.
    """
    given = new.get("metadata", {}).get("managedFields")
    reset = given in ([], [{}]) and not subresource
    found = entries(new if given and not subresource else old or {}) if not reset else {}
    type_ = schemas.of(kind)
    before = without_managed_fields(old) if old else zero(type_)
    if not found and old:
        return with_entries(new, found)
    try:
        comparison = structured_merge.compare(type_, before, without_managed_fields(new))
    except ValueError:  # an item without its key, which is validation's to refuse
        return with_entries(new, found)
    removed, written = (owned(kind, one, subresource) for one in (comparison.removed, comparison.written))
    found = {key: replace(one, fields=one.fields - removed - written) for key, one in found.items()}
    mine = Manager(manager or "unknown", "Update", kind.api_version, subresource)
    taken = written - _NEVER_OWNED
    if taken:
        fields = found[mine.key].fields | taken if mine.key in found else taken
        found[mine.key] = Entry(mine, fields, now())
    return with_entries(new, _capped({key: one for key, one in found.items() if one.fields}, kind))


def owned(kind: Kind, fields: Iterable[field_sets.Path], subresource: str = "") -> FieldSet:
    """Return those of `fields` that a write to the main resource, or to a subresource, can own at all."""
    found = frozenset(fields)
    status = field_sets.below(found, [("f:status",)])
    if subresource == "status":
        return status | field_sets.below(found, [("f:metadata",)])
    return found - status if "status" in kind.subresources else found


def stripped(fields: FieldSet) -> FieldSet:
    """Return a set without the fields that say which object it is, and those that the server sets."""
    return fields - _NEVER_OWNED


def same_but_for_times(old: Document, new: Document) -> bool:
    """Tell whether two objects differ in nothing but their resourceVersion and the times of their managedFields."""
    return _timeless(old) == _timeless(new)


def without_managed_fields(document: Document) -> Document:
    """Return an object without its managedFields."""
    metadata = {name: value for name, value in document.get("metadata", {}).items() if name != "managedFields"}
    return {**document, "metadata": metadata}


def now() -> str:
    """Return the time as entries write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _timeless(document: Document) -> Document:
    metadata: dict[str, Any] = {
        name: value for name, value in document.get("metadata", {}).items() if name != "resourceVersion"
    }
    if "managedFields" in metadata:
        metadata["managedFields"] = [
            {name: value for name, value in one.items() if name != "time"} for one in metadata["managedFields"]
        ]
    return {**document, "metadata": metadata}


def _written(one: Entry) -> Document:
    written = {
        "manager": one.manager.name,
        "operation": one.manager.operation,
        "apiVersion": one.manager.api_version,
        "time": one.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": field_sets.to_fields(one.fields),
        "subresource": one.manager.subresource,
    }
    return {name: value for name, value in written.items() if value or name == "fieldsV1"}


def _capped(found: Entries, kind: Kind) -> Entries:
    """Return the entries with the oldest updaters in one, as soon as there are more than ten."""
    updaters = sorted(
        (one for one in found.values() if not one.manager.applies), key=lambda one: (one.time, one.manager.key)
    )
    if len(updaters) <= _MOST_UPDATERS:
        return found
    oldest = updaters[: len(updaters) - _MOST_UPDATERS + 1]
    ancient = Manager("ancient-changes", "Update", kind.api_version)
    fields: FieldSet = frozenset().union(*(one.fields for one in oldest))
    kept = {key: one for key, one in found.items() if one not in oldest}
    return {**kept, ancient.key: Entry(ancient, fields, oldest[-1].time)}
