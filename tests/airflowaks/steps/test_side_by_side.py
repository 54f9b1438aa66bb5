"""Steps that run at the same time, as in a deployment: each resource begins when what it depends on exists."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflowaks.engine.results import Results
from airflowaks.errors import MissingDependency
from airflowaks.session import open_session
from airflowaks.steps import backend
from tests.support.deployment import STEPS, describe_environment
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.engine.changes import Change

pytestmark = pytest.mark.broad

PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    home, folder = tmp_path_factory.mktemp("cloud"), tmp_path_factory.mktemp("checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(home))
        patch.chdir(folder)
        yield start_rehearsal(home, "--time-scale", "0.00002")
    run_rehearsal(home, "reset")


class Deployed:
    """Steps 1 to 4 at once, each in a session of its own, as notebooks run them."""

    def __init__(self, name: str, times: int = 1) -> None:
        describe_environment(Path.cwd(), name)
        self.sessions = [open_session(name, waits=True) for _ in STEPS * times]
        self._pool = ThreadPoolExecutor(len(self.sessions))
        steps = zip(STEPS * times, self.sessions, strict=True)
        self._running = [self._pool.submit(step.everything, session) for step, session in steps]

    def finish(self) -> dict[str, Change]:
        """Wait for the end of all steps, and return what they made."""
        with self._pool:
            for running in self._running:
                running.result()
        return self.made()

    def made(self) -> dict[str, Change]:
        changes = (change for session in self.sessions for change in list(session.memoize(Results).changes))
        return {f"{change.kind} {change.name}": change for change in changes if change.applied}

    def until_made(self, *names: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.made().keys() >= set(names):
            assert time.monotonic() < deadline, self.made().keys()
            time.sleep(0.1)

    def waits(self) -> set[tuple[str, str, int]]:
        waits = (wait for session in self.sessions for wait in session.memoize(Results).waits)
        return {(wait.waiter, wait.resource, wait.step) for wait in waits}


def test_what_needs_no_cluster_does_not_wait_for_it(cloud: Rehearsal) -> None:
    cloud.control("POST", {"methods": ["PUT"], "path": "/managedClusters/[^/]+$", "hold": True})
    deployment = Deployed("cluster-last")
    administrator = "PostgreSQL administrator airflow-cluster-last-admins"
    deployment.until_made(administrator, "image airflow:3.3.2", "secret airflow-broker-url")
    held = deployment.made()
    assert "firewall rule cluster" not in held
    cloud.control("DELETE")
    made = deployment.finish()
    later = {
        name for name in made.keys() - held.keys() if name.startswith(("AKS", "firewall rule cluster", "role ass"))
    }
    assert len(later) == 4, later
    cluster = "AKS cluster airflow-cluster-last"
    assert (cluster, 1) in {(resource, step) for _, resource, step in deployment.waits()}


def test_what_needs_no_broker_does_not_wait_for_it(cloud: Rehearsal) -> None:
    cloud.control("POST", {"methods": ["PUT"], "path": "/databases/default$", "hold": True})
    deployment = Deployed("broker-last")
    deployment.until_made("database password airflow", "database password airflow_celery")
    assert "secret airflow-broker-url" not in deployment.made()
    cloud.control("DELETE")
    assert "secret airflow-broker-url" in deployment.finish()
    assert ("secret airflow-broker-url", "Redis database default", 3) in deployment.waits()


def test_two_deployments_of_one_environment_do_not_wait_for_each_other_for_ever(cloud: Rehearsal) -> None:
    del cloud
    Deployed("twice", times=2).finish()
    # Both generate secrets, of which the vault keeps one: the run after them may have to set a password.
    Deployed("twice").finish()
    assert Deployed("twice").finish() == {}


def test_alone_a_step_says_what_is_missing(cloud: Rehearsal) -> None:
    del cloud
    describe_environment(Path.cwd(), "alone")
    with pytest.raises(MissingDependency, match="needs resource group airflow-alone, which does not exist"):
        backend.everything(open_session("alone"))
