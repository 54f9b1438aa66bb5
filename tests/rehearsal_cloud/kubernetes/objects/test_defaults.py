"""What the API server fills in and how it writes it, the same by the rehearsal's cluster and a real one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.workspace import Document, Workspace
from tests.support.writing import cases, create, update

_CASES = cases("defaults")


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def shown(found: Any, asked: Any) -> Any:
    """Return the part of an answer that a case is about; lists with all their items, what is not there as None."""
    if isinstance(asked, dict) and isinstance(found, dict):
        return {name: shown(found.get(name), child) for name, child in asked.items()}
    if isinstance(asked, list) and isinstance(found, list):
        return [shown(one, asked[index] if index < len(asked) else None) for index, one in enumerate(found)]
    return found


@pytest.mark.parametrize("case", _CASES, ids=[one["name"] for one in _CASES])
def test_filled_in(space: Workspace, case: Document) -> None:
    document = {**case["object"], "metadata": {"name": "it", **case["object"].get("metadata", {})}}
    answer = create(space, document, dryRun="All")
    assert shown(answer, case["answer"]) == case["answer"]


def test_an_answer_written_back_changes_nothing(space: Workspace) -> None:
    untouched = [
        case["object"] for case in _CASES if case["object"]["kind"] in ("Secret", "NetworkPolicy", "RoleBinding")
    ]
    for document in untouched:
        made = create(space, {**document, "metadata": {"name": "it"}})
        assert update(space, made) == made
