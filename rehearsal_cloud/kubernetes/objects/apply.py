"""Server-side apply: merges a manager's configuration into an object, with ownership, conflicts and removal.

https://kubernetes.io/docs/reference/using-api/server-side-apply/ and the Updater of structured-merge-diff.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import Cause, Failure, apply_conflict, bad_request
from rehearsal_cloud.kubernetes.objects import field_sets, managed_fields, structured_merge
from rehearsal_cloud.kubernetes.objects.applied_types import check
from rehearsal_cloud.kubernetes.objects.managed_fields import Entry, Manager

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.field_sets import FieldSet, Path
    from rehearsal_cloud.kubernetes.objects.kinds import Kind
    from rehearsal_cloud.kubernetes.objects.managed_fields import Entries
    from rehearsal_cloud.kubernetes.objects.schema import Schemas, Type

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def apply(
    schemas: Schemas,
    kind: Kind,
    live: Document | None,
    patch: Document,
    manager: str,
    *,
    force: bool = False,
    subresource: str = "",
) -> Document:
    """Return `live` with `patch` applied, managedFields included.

    The caller must still decode, default and validate the result. Raises Failure: 400 for a patch of another version
    or with managedFields, 409 with one cause for each field that another manager owns, 500 for a field that is not in
    the schema.
    """
    _refuse(kind, patch)
    type_ = schemas.of(kind)
    wrong = check(type_, patch)
    if wrong:
        raise Failure(500, "", f"failed to create typed patch object ({_called(kind, patch)}): {wrong}")
    present = live or {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}}
    entries = managed_fields.entries(present)
    before = managed_fields.without_managed_fields(present)
    if live and not entries:
        entries = _before_first_apply(type_, kind, before)
    applier = Manager(manager, "Apply", kind.api_version, subresource)
    applied = managed_fields.owned(kind, structured_merge.field_set(type_, patch), subresource)
    last = entries.get(applier.key)
    entries[applier.key] = Entry(applier, applied, last.time if last else "")
    after = structured_merge.merge(type_, before, patch)
    if last:
        after = _pruned(type_, after, entries, last)
    comparison = structured_merge.compare(type_, before, after)
    written = managed_fields.owned(kind, comparison.written, subresource)
    removed = managed_fields.owned(kind, comparison.removed, subresource)
    del entries[applier.key]
    if not force:
        _refuse_conflicts(entries, written - (_last_applied(type_, before) if manager == "kubectl" else frozenset()))
    kept = {key: replace(entry, fields=entry.fields - written - removed) for key, entry in entries.items()}
    unchanged = last is not None and before == after
    time = last.time if last and unchanged else managed_fields.now()
    kept[applier.key] = Entry(applier, managed_fields.stripped(applied), time)
    return managed_fields.with_entries(after, kept)


def _refuse(kind: Kind, patch: Document) -> None:
    version, name = patch.get("apiVersion", ""), patch.get("kind", "")
    if (version, name) != (kind.api_version, kind.kind):
        raise bad_request(f"invalid object type: {version if '/' in version else f'/{version}'}, Kind={name}")
    if "managedFields" in (patch.get("metadata") or {}):
        raise bad_request("metadata.managedFields must be nil")


def _called(kind: Kind, patch: Document) -> str:
    metadata = patch.get("metadata") or {}
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; {kind.api_version}, Kind={kind.kind}"


def _before_first_apply(type_: Type, kind: Kind, live: Document) -> Entries:
    """Return the entries of an object without managedFields: one manager owns all fields."""
    earlier = Manager("before-first-apply", "Update", kind.api_version)
    written = structured_merge.compare(type_, {}, live).written
    fields = managed_fields.stripped(managed_fields.owned(kind, written))
    return {earlier.key: Entry(earlier, fields, managed_fields.now())}


def _pruned(type_: Type, merged: Document, entries: Entries, last: Entry) -> Document:
    """Return the merged object without the fields that only the last apply of this manager set."""
    if not last.fields:
        return merged
    before = field_sets.with_named_parents(last.fields, type_)
    pruned = structured_merge.remove(type_, merged, before)
    everybodys = field_sets.with_named_parents(frozenset().union(*(entry.fields for entry in entries.values())), type_)
    fields_before, has = (_all_fields(type_, document) for document in (merged, pruned))
    pruned = structured_merge.remove(type_, merged, fields_before - (has | everybodys))
    has = _all_fields(type_, pruned)
    left: Document = structured_merge.remove(type_, merged, (fields_before - has) & before)
    return left


def _all_fields(type_: Type, document: Document) -> FieldSet:
    return field_sets.with_named_parents(structured_merge.field_set(type_, document), type_)


def _refuse_conflicts(other_entries: Entries, written: FieldSet) -> None:
    """Raise Failure (409) where another manager owns a written field."""
    conflicts = [
        (entry, path) for entry in other_entries.values() for path in field_sets.in_order(entry.fields & written)
    ]
    if conflicts:
        raise _conflict(conflicts)


def _conflict(conflicts: list[tuple[Entry, Path]]) -> Failure:
    causes = [
        Cause("FieldManagerConflict", field_sets.text(path), f"conflict with {_shown(entry)}")
        for entry, path in conflicts
    ]
    if len(conflicts) == 1:
        entry, path = conflicts[0]
        text = f"Apply failed with 1 conflict: conflict with {_shown(entry)}: {field_sets.text(path)}"
        return apply_conflict(text, causes)
    by_manager: dict[str, list[str]] = {}
    for entry, path in conflicts:
        by_manager.setdefault(_shown(entry), []).append(field_sets.text(path))
    listed = [
        line
        for manager in sorted(by_manager)
        for line in (f"conflicts with {manager}:", *(f"- {path}" for path in by_manager[manager]))
    ]
    return apply_conflict(f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(listed), causes)


def _shown(entry: Entry) -> str:
    manager = entry.manager
    text = f'"{manager.name}"' + (f' with subresource "{manager.subresource}"' if manager.subresource else "")
    return text if manager.applies else f"{text} using {manager.api_version}"


def _last_applied(type_: Type, live: Document) -> FieldSet:
    """Return the fields of kubectl's last client-side apply that are unchanged since."""
    try:
        applied = json.loads(live["metadata"]["annotations"][LAST_APPLIED])
    except (KeyError, ValueError):
        return frozenset()
    comparison = structured_merge.compare(type_, applied, live)
    return structured_merge.field_set(type_, applied) - comparison.written - comparison.removed
