"""A rehearsal cloud that is stopped or reset under a run: the run's error says so, wherever the run was."""

from __future__ import annotations

import re
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from airflowaks.azure.database_role import TOKEN_SCOPE, connect
from airflowaks.errors import RehearsalUnavailable
from airflowaks.kube.client import Reference
from airflowaks.kube.client import connect as reach
from airflowaks.kube.exec import run
from airflowaks.session import Session, open_session
from airflowaks.steps import backend, cluster, key_vault, registry
from tests.support.deployment import describe_environment
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.broad

# A small image, which is there in a moment, in place of Airflow's.
PYTHON = """
registry:
  source: docker.io/library/python:3.13
"""
SECONDS = 60
ENDED = r"The rehearsal cloud at http://127\.0\.0\.1:\d+ was stopped or reset while this ran\."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A rehearsal with steps 1 to 4, where programs find it."""
    home, folder = tmp_path_factory.mktemp("cloud"), tmp_path_factory.mktemp("checkout")
    describe_environment(folder, "stopped", PYTHON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(home))
        patch.chdir(folder)
        start_rehearsal(home, "--time-scale", "0.00002")
        session = open_session("stopped")
        for step in (cluster, registry, backend, key_vault):
            step.everything(session)
        session.close()
        yield home
        run_rehearsal(home, "reset")


@pytest.fixture
def cloud(home: Path) -> Rehearsal:
    return start_rehearsal(home)


@pytest.fixture
def session(cloud: Rehearsal) -> Iterator[Session]:
    del cloud
    opened = open_session("stopped")
    yield opened
    opened.close()


@contextmanager
def ended_at(cloud: Rehearsal, point: Callable[[], Any], command: str) -> Iterator[None]:
    """Run a command of the rehearsal beside the block, once this has reached a point."""

    def end() -> None:
        deadline = time.monotonic() + SECONDS
        while not point():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run_rehearsal(cloud.home, command)

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def says_so() -> Iterator[None]:
    with pytest.raises(RehearsalUnavailable, match=ENDED) as caught:
        yield
    assert caught.value.action.startswith("Run `airflowaks rehearsal up`, then run the step again")


@pytest.mark.parametrize(
    ("held", "step"),
    [
        ({"host": "graph"}, cluster.everything),
        ({"host": "azurecr"}, registry.everything),
        ({"path": "/flexibleServers/"}, backend.everything),
    ],
)
def test_a_step_under_which_it_ends(
    cloud: Rehearsal, session: Session, held: dict[str, Any], step: Callable[[Session], Any]
) -> None:
    cloud.control("POST", {"methods": ["GET"], "hold": True, **held})
    with ended_at(cloud, lambda: cloud.control("GET")[0]["holding"], "down"), says_so():
        step(session)


def test_a_request_to_the_cluster(cloud: Rehearsal, session: Session) -> None:
    kube = session.memoize(reach)
    watched = kube.follow(Reference("v1", "Namespace", "default"), SECONDS)
    next(watched)
    run_rehearsal(cloud.home, "down")
    with says_so(), session.translated("the namespace"):
        list(watched)


def test_a_command_in_a_pod(cloud: Rehearsal, session: Session) -> None:
    step = session.memoize(backend.Resources)
    step.route.address(step.server.host, step.server.port)
    kube, pod = session.memoize(reach), step.route._pod  # type: ignore[attr-defined]  # it is a Tunnel
    sleeps = f"sleep {uuid.uuid4().int % 100000 + 100000}"

    def runs() -> bool:
        return any(" ".join(process.info["cmdline"] or []) == sleeps for process in psutil.process_iter(["cmdline"]))

    with ended_at(cloud, runs, "down"), says_so(), session.translated("the command"):
        run(kube, pod, sleeps.split())


def test_a_connection_to_the_database_through_a_port_forward(cloud: Rehearsal, session: Session) -> None:
    step = session.memoize(backend.Resources)
    with says_so(), session.translated(step.server):
        connection = connect(step.server, "postgres", step.administrator.user, session.token(TOKEN_SCOPE))
        run_rehearsal(cloud.home, "down")
        connection.execute("SELECT 1")


def test_checks_and_a_sign_in_and_the_session_once_it_is_up_again(cloud: Rehearsal, session: Session) -> None:
    run_rehearsal(cloud.home, "down")
    assert all(re.search(ENDED, check.seen) for check in registry.checks(session))
    with says_so():
        session.token(TOKEN_SCOPE)
    start_rehearsal(cloud.home)
    assert {change.action.value for change in registry.everything(session)} == {"none"}


def test_a_reset(cloud: Rehearsal, session: Session) -> None:
    """The last test: nothing is left of the steps."""
    cloud.control("POST", {"methods": ["GET"], "path": "/resourcegroups/", "hold": True})
    with ended_at(cloud, lambda: cloud.control("GET")[0]["holding"], "reset"), says_so():
        cluster.everything(session)
    start_rehearsal(cloud.home)
    with says_so():
        cluster.everything(session)
