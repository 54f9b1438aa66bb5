"""Properties of server-side apply that hold for any configurations, whoever applies them in whichever order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rehearsal_cloud.kubernetes.objects import field_sets, lifecycle, managed_fields, structured_merge
from rehearsal_cloud.kubernetes.objects.apply import apply
from rehearsal_cloud.kubernetes.objects.decoding import decode
from rehearsal_cloud.kubernetes.objects.kinds import Kinds
from rehearsal_cloud.kubernetes.objects.schema import Schemas

Document = dict[str, Any]

SCHEMAS = Schemas()
KIND = Kinds().named("Pod")
TYPE = SCHEMAS.of(KIND)
_NAMES = st.sampled_from(["a", "b", "c"])
_TEXTS = st.sampled_from(["1", "2"])


def _named(fields: dict[str, st.SearchStrategy[Any]], least: int = 0) -> st.SearchStrategy[list[Document]]:
    item = st.fixed_dictionaries({"name": _NAMES}, optional=fields)
    return st.lists(item, min_size=least, max_size=3, unique_by=lambda one: one["name"])


_CONTAINER = {
    "image": _TEXTS,
    "args": st.lists(_TEXTS, min_size=1, max_size=2),
    "env": _named({"value": _TEXTS}),
    "resources": st.fixed_dictionaries({"limits": st.dictionaries(st.just("cpu"), _TEXTS, min_size=1)}),
}
_METADATA = st.fixed_dictionaries(
    {"name": st.just("it"), "namespace": st.just("n")},
    optional={
        "labels": st.dictionaries(_NAMES, _TEXTS, min_size=1, max_size=3),
        "finalizers": st.lists(st.sampled_from(["x/a", "x/b"]), min_size=1, max_size=2, unique=True),
    },
)
_SPEC = st.fixed_dictionaries(
    # Nobody owns nothing: what has no managers at all was there before the first apply, and is not gone by the second.
    {"containers": _named(_CONTAINER, 1), "nodeName": _TEXTS},
    optional={"nodeSelector": st.dictionaries(_NAMES, _TEXTS, min_size=1, max_size=2)},
)
PODS = st.builds(
    lambda metadata, spec: {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, _METADATA, _SPEC
)


# No deadline: a busy machine breaks no property.
examples = settings(max_examples=50, deadline=None)


def applied(live: Document | None, config: Document, manager: str) -> Document:
    """Apply with force, and read the result as the server does."""
    return decode(SCHEMAS, KIND, apply(SCHEMAS, KIND, live, config, manager, force=True), "Ignore")[0]


def fields_of(document: Document, manager: str) -> field_sets.FieldSet:
    entries = managed_fields.entries(document).values()
    return frozenset().union(*(entry.fields for entry in entries if entry.manager.name == manager))


@examples
@given(PODS)
def test_applying_twice_changes_nothing(config: Document) -> None:
    once = applied(None, config, "one")
    assert lifecycle.is_unchanged(once, applied(once, config, "one"))


@examples
@given(PODS, PODS)
def test_the_last_to_apply_has_it_all(first: Document, second: Document) -> None:
    both = applied(applied(None, first, "one"), second, "two")
    wanted = structured_merge.field_set(TYPE, decode(SCHEMAS, KIND, second, "Ignore")[0])
    differing = structured_merge.compare(TYPE, both, structured_merge.merge(TYPE, both, second)).modified
    assert not wanted & differing


@examples
@given(PODS, PODS)
def test_a_conflict_free_apply_takes_nothing_from_others(first: Document, second: Document) -> None:
    one = applied(None, first, "one")
    both = applied(one, second, "two")
    taken = fields_of(one, "one") - fields_of(both, "one")
    assert taken <= fields_of(both, "two") | frozenset(structured_merge.compare(TYPE, one, both).removed)


@examples
@given(PODS, PODS)
def test_who_goes_leaves_what_others_want(first: Document, second: Document) -> None:
    both = applied(applied(None, first, "one"), second, "two")
    empty = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it", "namespace": "n"}}
    left = applied(both, empty, "one")
    alone = applied(None, second, "two")
    assert managed_fields.without_managed_fields(left)["spec"] == alone["spec"]
    assert left["metadata"].get("labels") == alone["metadata"].get("labels")
    assert fields_of(left, "one") == frozenset()


@examples
@given(PODS, PODS)
def test_a_merge_with_the_old_and_new_has_the_new(first: Document, second: Document) -> None:
    merged = structured_merge.merge(TYPE, first, second)
    assert structured_merge.merge(TYPE, merged, second) == merged
    assert not structured_merge.compare(TYPE, merged, structured_merge.merge(TYPE, first, second)).written


@examples
@given(PODS)
def test_a_field_set_survives_being_written(config: Document) -> None:
    fields = structured_merge.field_set(TYPE, config)
    assert field_sets.from_fields(field_sets.to_fields(fields)) == fields


@examples
@given(PODS, PODS)
def test_what_changed_between_two_pods_is_theirs(first: Document, second: Document) -> None:
    comparison = structured_merge.compare(TYPE, first, second)
    assert not comparison.added & comparison.removed
    backwards = structured_merge.compare(TYPE, second, first)
    assert comparison.added == backwards.removed
    assert comparison.modified == backwards.modified
