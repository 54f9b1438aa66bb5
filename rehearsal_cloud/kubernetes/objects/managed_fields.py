"""Managed fields: the owners of an object's fields, recorded in its metadata at every write.

The rules are those of https://github.com/kubernetes/apimachinery/tree/master/pkg/util/managedfields: entries of updates
are distinguished by manager, version and subresource, entries of applies by manager and subresource.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

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
    """The manager of a write: it identifies the entry of managedFields."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    @property
    def applies(self) -> bool:
        """Tell whether the manager applies."""
        return self.operation == "Apply"

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key of the entry. An applier has one entry for all versions."""
        return self.name, self.operation, "" if self.applies else self.api_version, self.subresource


@dataclass(frozen=True)
class Entry:
    """The fields that a manager owns, and since when."""

    manager: Manager
    fields: FieldSet
    time: str = ""


Entries = dict[tuple[str, ...], Entry]


def entries(document: Document) -> Entries:
    """Return the entries of an object's managedFields."""
    by_key: Entries = {}
    for item in document.get("metadata", {}).get("managedFields") or ():
        manager = Manager(
            item.get("manager", ""), item.get("operation", ""), item.get("apiVersion", ""), item.get("subresource", "")
        )
        by_key[manager.key] = Entry(manager, field_sets.from_fields(item.get("fieldsV1") or {}), item.get("time") or "")
    return by_key


def with_entries(document: Document, by_key: Entries) -> Document:
    """Return an object whose managedFields are these entries: appliers first, then by time."""
    ordered = sorted(
        (entry for entry in by_key.values() if entry.fields),
        key=lambda entry: (
            entry.manager.operation,
            entry.time,
            entry.manager.name,
            entry.manager.api_version,
            entry.manager.subresource,
        ),
    )
    metadata = {name: value for name, value in document.get("metadata", {}).items() if name != "managedFields"}
    return {
        **document,
        "metadata": metadata | ({"managedFields": [_written(entry) for entry in ordered]} if ordered else {}),
    }


def track(
    schemas: Schemas, kind: Kind, old: Document | None, new: Document, *, manager: str, subresource: str = ""
) -> Document:
    """Return `new`, a create's or an update's object, with managedFields that record `manager`'s changes to `old`.

    An empty list of managedFields in `new` resets them; without the field those of `old` stay.
    """
    requested = new.get("metadata", {}).get("managedFields")
    reset = requested in ([], [{}]) and not subresource
    by_key = entries(new if requested and not subresource else old or {}) if not reset else {}
    type_ = schemas.of(kind)
    before = without_managed_fields(old) if old else zero(type_)
    if not by_key and old:
        return with_entries(new, by_key)
    try:
        comparison = structured_merge.compare(type_, before, without_managed_fields(new))
    except ValueError:  # an item without its key, which is validation's to refuse
        return with_entries(new, by_key)
    removed, written = (owned(kind, paths, subresource) for paths in (comparison.removed, comparison.written))
    by_key = {key: replace(entry, fields=entry.fields - removed - written) for key, entry in by_key.items()}
    updater = Manager(manager or "unknown", "Update", kind.api_version, subresource)
    taken = written - _NEVER_OWNED
    if taken:
        fields = by_key[updater.key].fields | taken if updater.key in by_key else taken
        by_key[updater.key] = Entry(updater, fields, now())
    return with_entries(new, _capped({key: entry for key, entry in by_key.items() if entry.fields}, kind))


def owned(kind: Kind, fields: Iterable[field_sets.Path], subresource: str = "") -> FieldSet:
    """Return the fields that a write to the main resource, or to a subresource, can own."""
    kept = frozenset(fields)
    status = field_sets.below(kept, [("f:status",)])
    if subresource == "status":
        return status | field_sets.below(kept, [("f:metadata",)])
    return kept - status if "status" in kind.subresources else kept


def stripped(fields: FieldSet) -> FieldSet:
    """Return a set without the object's identity and the fields that the server sets."""
    return fields - _NEVER_OWNED


def without_managed_fields(document: Document) -> Document:
    """Return an object without its managedFields."""
    metadata = {name: value for name, value in document.get("metadata", {}).items() if name != "managedFields"}
    return {**document, "metadata": metadata}


def now() -> str:
    """Return the current time in the format of entries."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _written(entry: Entry) -> Document:
    written = {
        "manager": entry.manager.name,
        "operation": entry.manager.operation,
        "apiVersion": entry.manager.api_version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": field_sets.to_fields(entry.fields),
        "subresource": entry.manager.subresource,
    }
    return {name: value for name, value in written.items() if value or name == "fieldsV1"}


def _capped(by_key: Entries, kind: Kind) -> Entries:
    """Return the entries with the oldest updaters merged when there are more than ten."""
    updaters = sorted(
        (entry for entry in by_key.values() if not entry.manager.applies),
        key=lambda entry: (entry.time, entry.manager.key),
    )
    if len(updaters) <= _MOST_UPDATERS:
        return by_key
    oldest = updaters[: len(updaters) - _MOST_UPDATERS + 1]
    ancient = Manager("ancient-changes", "Update", kind.api_version)
    fields: FieldSet = frozenset().union(*(entry.fields for entry in oldest))
    kept = {key: entry for key, entry in by_key.items() if entry not in oldest}
    return {**kept, ancient.key: Entry(ancient, fields, oldest[-1].time)}
