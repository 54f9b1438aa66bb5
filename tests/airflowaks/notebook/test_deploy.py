"""Deploying all steps where it goes wrong: a step that fails, going on after it, an interrupt."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from airflowaks.engine.results import Results
from airflowaks.errors import StepFailed
from airflowaks.notebook.deploy import _OF_IMAGE, DEPENDENCIES, Deployment
from airflowaks.session import open_session
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jupyter_client.blocking import BlockingKernelClient
    from jupyter_client.manager import KernelManager

pytestmark = pytest.mark.broad

MANY = 1_000_000
PATIENCE_SECONDS = 120
PROGRAM = """
from airflowaks.notebook.deploy import deploy
from airflowaks.session import open_session
deploy(open_session("local"), {folder!r})
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    home = tmp_path_factory.mktemp("cloud")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(home))
        yield start_rehearsal(home, "--time-scale", "0.00002", "--replication-seconds", "5000")
    run_rehearsal(home, "reset")


@pytest.fixture
def faults(cloud: Rehearsal) -> Iterator[Rehearsal]:
    """The cloud, which forgets its faults when the test ends."""
    yield cloud
    cloud.control("DELETE")


def refuse(cloud: Rehearsal, path: str) -> None:
    """Refuse every write of a kind of resource, as a policy does."""
    text = "Resource was disallowed by policy: not on a Sunday."
    fault = {"methods": ["PUT"], "path": path, "times": MANY, "status": 403}
    cloud.control("POST", {**fault, "code": "RequestDisallowedByPolicy", "message": text})


def until(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_run_s_image_goes_to_each_notebook_that_takes_it() -> None:
    notebooks = {name: (REPOSITORY / "notebooks" / f"{name}.ipynb").read_text() for name in DEPENDENCIES}
    assert set(_OF_IMAGE) == {name for name, text in notebooks.items() if '"image: str = ' in text}


def states(deployment: Deployment) -> dict[str, str]:
    return {step.notebook[:2]: step.state for step in deployment.steps.values()}


def test_after_a_step_that_fails_nothing_is_begun_and_a_rerun_goes_on(faults: Rehearsal, tmp_path: Path) -> None:
    refuse(faults, "/registries/[^/]+$")
    faults.control("POST", {"methods": ["PUT"], "path": "/flexibleServers/[^/]+$", "hold": True})
    first = Deployment(open_session("local"), tmp_path / "first")
    not_begun = dict.fromkeys(("04", "05", "06", "07"), "not begun")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first.run)
        until(lambda: first.failed and faults.control("GET")[-1]["holding"])
        assert states(first) == {"01": "done", "02": "FAILED", "03": "running"} | not_begun
        faults.control("DELETE")
        running.result()
    # Step 3 has made its servers, and cannot go on without the image of step 2.
    assert states(first) == {"01": "done", "02": "FAILED", "03": "FAILED"} | not_begun
    assert "1 done, 2 FAILED, 4 not begun after " in str(first)
    assert first.steps["03_backend"].stderr.endswith("/02_registry.ipynb, and run both steps again.")
    with pytest.raises(StepFailed) as caught:
        first.raise_failure()
    assert caught.value.message.startswith("02_registry failed: ")
    assert "not on a Sunday" in caught.value.message
    assert caught.value.action.endswith(" Then run this notebook again: it goes on from there.")

    refuse(faults, "/vaults/[^/]+$")
    second = Deployment(open_session("local"), tmp_path / "second")
    second.run()
    done = dict.fromkeys(("01", "02", "03", "06"), "done")
    assert states(second) == done | {"04": "FAILED", "05": "not begun", "07": "not begun"}
    made = {change.kind for change in second.session.memoize(Results).changes if change.applied}
    assert {"container registry", "PersistentVolumeClaim"} <= made
    assert not made & {"AKS cluster", "PostgreSQL server"}


@pytest.fixture
def kernel() -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """A kernel as JupyterLab starts it for the notebook."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(REPOSITORY / "notebooks"))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def test_an_interrupt_ends_every_program_that_it_started(
    faults: Rehearsal, kernel: tuple[KernelManager, BlockingKernelClient], tmp_path: Path
) -> None:
    manager, client = kernel
    faults.control("POST", {"methods": ["GET", "PUT"], "host": "management", "times": MANY, "hold": True})
    request = client.execute(PROGRAM.format(folder=str(tmp_path)))
    until(lambda: faults.control("GET")[0]["holding"])
    started = psutil.Process(manager.provisioner.pid).children(recursive=True)
    assert [one for one in started if "papermill" in one.cmdline()]
    manager.interrupt_kernel()
    while (reply := client.get_shell_msg(timeout=PATIENCE_SECONDS))["parent_header"].get("msg_id") != request:
        pass
    assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "KeyboardInterrupt")
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
