from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.engine.changes import Action
from airflowaks.session import open_session
from tests.support.deployment import READING_POSTS, STEPS, deploy, describe_environment, is_held, is_write, state
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflowaks.session import Session

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.support.deployment"])
PATIENCE_SECONDS = 120
MANY = 1_000_000


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


def wait_until_held(cloud: Rehearsal, process: Any) -> bool:
    """Wait until the rehearsal holds the first fault's write; False where the process came to its end before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if cloud.control("GET")[0]["holding"]:
            return True
        if process.exitcode is not None:
            return False
        time.sleep(0.02)
    pytest.fail("the run neither reached its write nor ended")


def kill_at_write(cloud: Rehearsal, folder: Path, name: str, *, after: bool) -> bool:
    """Run steps 1 to 4 and kill -9 the run at its first write, which is served (`after`) or, as all others, is not.

    Return False where it ended by itself.
    """
    writes = {"path": f"^(?!.*{READING_POSTS})", "hold": True}
    cloud.control("POST", {**writes, "after": after})
    cloud.control("POST", {**writes, "times": MANY})
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
    """What an undisturbed run leaves in the cloud, and how many writes it takes once the subscription is registered."""
    started = len(cloud.requests())
    reference = open_here("whole")
    converge_everything(reference)
    written = [one["path"] for one in cloud.requests()[started:] if is_write(one) and is_held(one)]
    writes = sum(not path.endswith("/register") for path in written)
    left = state(reference)
    reference.resources.resource_groups.begin_delete(reference.environment.resource_group).result()
    return left, writes


@pytest.mark.broad
def test_killed_after_every_write_in_turn_the_next_run_goes_on(
    cloud: Rehearsal, open_here: Callable[..., Session], folder: Path, whole: tuple[list[str], int]
) -> None:
    """Each run makes one write and is killed; the last finds nothing left to write, and passes every check."""
    wanted, writes = whole
    assert writes > 20
    describe_environment(folder, "killed")
    kills = 0
    while kill_at_write(cloud, folder, "killed", after=True):
        kills += 1
        assert kills < 2 * writes, "the runs do not get on"
    assert kills >= writes
    assert state(open_here("killed")) == wanted


@pytest.mark.broad
def test_killed_before_the_first_write_of_each_step_the_next_run_goes_on(
    cloud: Rehearsal, open_here: Callable[..., Session], folder: Path, whole: tuple[list[str], int]
) -> None:
    wanted, _ = whole
    describe_environment(folder, "before")
    for step in STEPS:
        assert kill_at_write(cloud, folder, "before", after=False)
        step.everything(open_here("before"))
    assert state(open_here("before")) == wanted
