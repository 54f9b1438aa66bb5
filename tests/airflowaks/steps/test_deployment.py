from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from airflowaks.engine.changes import Action
from airflowaks.session import open_session
from tests.support.deployment import STEPS, describe_environment, is_write
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflowaks.session import Session


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    home = tmp_path_factory.mktemp("cloud")
    yield start_rehearsal(home, "--time-scale", "0.00002", "--replication-seconds", "5000")
    run_rehearsal(home, "reset")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the environments of these tests are described."""
    return tmp_path_factory.mktemp("checkout")


@pytest.fixture(scope="module")
def open_here(cloud: Rehearsal, folder: Path) -> Iterator[Callable[..., Session]]:
    def open_environment(name: str, mode: str = "apply") -> Session:
        describe_environment(folder, name)
        return open_session(name, mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(cloud.home))
        patch.chdir(folder)
        yield open_environment


def converge_everything(session: Session) -> Counter[Action]:
    return Counter(change.action for step in STEPS for change in step.everything(session))


def test_second_run_writes_nothing_and_reads_each_resource_once(
    cloud: Rehearsal, open_here: Callable[..., Session]
) -> None:
    first = converge_everything(open_here("twice"))
    assert first[Action.CREATE] > 20
    before = len(cloud.requests())

    second = converge_everything(open_here("twice"))

    assert set(second) == {Action.NONE}
    served = cloud.requests()[before:]
    assert [one for one in served if is_write(one)] == []
    reads = Counter(
        (one["host"], one["path"], one["query"])
        for one in served
        if one["status"] == 200 and one["method"] == "GET" and not one["host"].startswith(("login", "localhost"))
    )
    assert {resource: count for resource, count in reads.items() if count > 1} == {}


def test_plan_writes_nothing_on_an_empty_cloud_and_names_what_it_would_create(
    cloud: Rehearsal, open_here: Callable[..., Session]
) -> None:
    session = open_here("planned", "plan")
    before = len(cloud.requests())

    planned = [change for step in STEPS for change in step.everything(session)]

    assert [one for one in cloud.requests()[before:] if is_write(one)] == []
    created = Counter(change.kind for change in planned if change.action is Action.CREATE)
    assert created["AKS cluster"] == created["PostgreSQL server"] == created["key vault"] == 1
    assert created["secret"] == 9
    assert not any(change.applied for change in planned)


def test_check_finds_what_was_changed_behind_its_back(open_here: Callable[..., Session]) -> None:
    session = open_here("drifted")
    converge_everything(session)
    registry = session.environment.registry.name
    session.registries.registries.begin_update(
        session.environment.resource_group, registry, {"properties": {"adminUserEnabled": True}}
    ).result()

    checking = open_here("drifted", "check")
    pending = [change for step in STEPS for change in step.everything(checking) if change.action is not Action.NONE]

    assert [(one.kind, one.name, one.applied) for one in pending] == [("container registry", registry, False)]
    assert [str(one) for one in pending[0].differences] == ["properties.adminUserEnabled: true → false"]
