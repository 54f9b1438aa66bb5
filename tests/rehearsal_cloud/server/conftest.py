"""kubectl on a cluster that the operator administers."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.kubectl import Kubectl, administered_cluster
from tests.support.rehearsal import run_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal


@pytest.fixture(scope="module")
def environment(
    rehearsal: Rehearsal, send: Sender, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A cluster that the operator administers through a group, and what a shell needs to reach it."""
    with administered_cluster(rehearsal, send, tmp_path_factory.mktemp("kubectl")) as shell:
        yield shell


@pytest.fixture(scope="module")
def token(rehearsal: Rehearsal) -> str:
    """The operator's token."""
    credential = json.loads(run_rehearsal(rehearsal.home, "credential"))
    assert credential["kind"] == "ExecCredential"
    found: str = credential["status"]["token"]
    return found


@pytest.fixture
def kubectl(environment: dict[str, str], token: str) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own."""
    found = Kubectl(environment, f"test-{uuid.uuid4().hex[:10]}", token)
    found("create", "namespace", found.namespace)
    yield found
    found("delete", "namespace", found.namespace, "--wait=false")
