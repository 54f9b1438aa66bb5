from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.changes import Action
from airflowaks.session import open_session
from tests.conftest import Rehearsal, run_rehearsal, start_rehearsal
from tests.deployment import READING_POSTS, STEPS, deploy, describe_environment, is_write, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflowaks.session import Session

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.deployment"])
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    home = tmp_path_factory.mktemp("cloud")
    yield start_rehearsal(home, "--time-scale", "0.00002")
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
    assert created["secret"] == 7
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


def wait_until_held(cloud: Rehearsal, process: Any) -> bool:
    """Wait until the rehearsal holds a write's answer back; False where the process came to its end before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if any(fault["holding"] for fault in cloud.control("GET")):
            return True
        if process.exitcode is not None:
            return False
        time.sleep(0.02)
    pytest.fail("the run neither reached its write nor ended")


def kill_at_write(cloud: Rehearsal, folder: Path, name: str, *, spared: int, after: bool) -> bool:
    """Run steps 1 to 4 and kill -9 the run at a write, before or after it is served; False where it ended by itself."""
    cloud.control("POST", {"path": f"^(?!.*{READING_POSTS})", "skip": spared, "hold": True, "after": after})
    process = FORKS.Process(target=deploy, args=(name, folder, cloud.home))
    process.start()
    held = wait_until_held(cloud, process)
    process.kill()
    process.join()
    cloud.control("DELETE")
    assert held or process.exitcode == 0
    return held


@pytest.fixture(scope="module")
def whole(cloud: Rehearsal, open_here: Callable[..., Session]) -> tuple[list[str], int]:
    """What an undisturbed run leaves in the cloud, and how many writes it takes."""
    started = len(cloud.requests())
    reference = open_here("whole")
    converge_everything(reference)
    writes = sum(is_write(one) for one in cloud.requests()[started:])
    left = state(reference)
    reference.resources.resource_groups.begin_delete(reference.environment.resource_group).result()
    return left, writes


def test_killed_after_every_write_in_turn_a_rerun_heals(
    cloud: Rehearsal, open_here: Callable[..., Session], folder: Path, whole: tuple[list[str], int]
) -> None:
    wanted, writes = whole
    assert writes > 20
    for number in range(writes):
        name = f"k{number}"
        describe_environment(folder, name)
        assert kill_at_write(cloud, folder, name, spared=number, after=True), f"there is no write {number}"

        rerun = FORKS.Process(target=deploy, args=(name, folder, cloud.home))
        rerun.start()
        rerun.join(PATIENCE_SECONDS)

        assert rerun.exitcode == 0, f"the run after the kill at write {number} of {writes} did not heal"
        healed = open_here(name, "check")
        assert state(healed) == wanted
        healed.resources.resource_groups.begin_delete(healed.environment.resource_group).result()


def test_killed_before_every_second_write_it_comes_to_the_same_end(
    cloud: Rehearsal, open_here: Callable[..., Session], folder: Path, whole: tuple[list[str], int]
) -> None:
    wanted, writes = whole
    describe_environment(folder, "chain")
    kills = 0
    while kill_at_write(cloud, folder, "chain", spared=1, after=False):
        kills += 1
        assert kills < 2 * writes, "the runs do not get on"
    assert kills > writes // 2
    assert state(open_here("chain")) == wanted
