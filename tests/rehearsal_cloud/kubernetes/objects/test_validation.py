"""What the API server refuses, in the same words by the rehearsal's cluster and a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rehearsal_cloud.kubernetes.objects.kinds import Kinds
from tests.support.workspace import Document, Refused, Workspace
from tests.support.writing import MERGE, cases, create, patch

if TYPE_CHECKING:
    from tests.support.control_plane import ClusterApi

_INVALID = cases("invalid_objects")
_CHANGES = cases("invalid_changes")


@pytest.fixture
def space(cluster_api: ClusterApi) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def wrong(case: Document, side: str) -> list[Document]:
    """Return what is wrong by field, in the words of the side: `measured` are those of 1.36 where they changed."""
    newer = case.get("measured", {}) if side == "rehearsal" else {}
    return [{field: newer.get(field, text) for field, text in cause.items()} for cause in case["wrong"]]


def named(document: Document) -> Document:
    return {**document, "metadata": {"name": "it", **document.get("metadata", {})}}


def causes(status: Document) -> set[tuple[str, str]]:
    assert (status["code"], status["reason"]) == (422, "Invalid"), status
    # Where text stands for a whole object, old servers print Go and new ones JSON: the end says what is wrong.
    return {(one["field"], one["message"].partition("\n")[0]) for one in status["details"]["causes"]}


def expect(found: set[tuple[str, str]], wrong: list[Document]) -> None:
    """Assert that these causes were found and no other; a text is whole, or ends at or begins after an ellipsis."""
    left = set(found)
    for one in wrong:
        ((field, text),) = one.items()
        head, _, tail = text.partition("…") if "…" in text else (text, "", text)
        fits = {(name, said) for name, said in left if name == field and said.startswith(head) and said.endswith(tail)}
        assert fits, f"{field}: {text} is not among {sorted(left)}"
        left -= fits
    assert not left


@pytest.mark.parametrize("case", _INVALID, ids=[one["name"] for one in _INVALID])
def test_refused(cluster_api: ClusterApi, space: Workspace, case: Document) -> None:
    document = named(case["object"])
    with pytest.raises(Refused) as refused:
        create(space, document, dryRun="All")
    status = refused.value.status
    expect(causes(status), wrong(case, cluster_api.side))
    kind = Kinds().of(document)
    assert f'"{document["metadata"]["name"]}" is invalid: ' in status["message"]
    assert status["details"]["kind"] == kind.kind


@pytest.mark.parametrize("case", _CHANGES, ids=[one["name"] for one in _CHANGES])
def test_not_to_be_changed(cluster_api: ClusterApi, space: Workspace, case: Document) -> None:
    # What has no namespace is named after the test's, so that the next test meets none of it.
    document = named(case["object"])
    if not Kinds().of(document).namespaced:
        document["metadata"]["name"] = space.namespace
    create(space, document)
    with pytest.raises(Refused) as refused:
        patch(space, document, case["change"], MERGE, dryRun="All")
    expect(causes(refused.value.status), wrong(case, cluster_api.side))
