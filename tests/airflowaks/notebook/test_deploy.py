"""Deploying all steps where it goes wrong: a step that fails, going on after it, an interrupt."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from airflowaks.engine.results import Results
from airflowaks.errors import StepFailed
from airflowaks.notebook.deploy import _OF_IMAGE, NOTEBOOKS, Deployment
from airflowaks.session import open_session
from tests.support.deployment import is_write
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jupyter_client.blocking import BlockingKernelClient
    from jupyter_client.manager import KernelManager

    from airflowaks.notebook.records import RunRecord

MANY = 1_000_000
PATIENCE_SECONDS = 120
SECONDS_TO_END = 20
"""How long what was begun when a step failed may go on to write, on a machine that has other work."""
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
        yield start_rehearsal(home, "--time-scale", "0.00002")
    run_rehearsal(home, "reset")


@pytest.fixture
def faults(cloud: Rehearsal) -> Iterator[Rehearsal]:
    """The cloud, which forgets its faults when the test ends."""
    yield cloud
    cloud.control("DELETE")


def refuse(cloud: Rehearsal, path: str) -> None:
    """Refuse every write of a kind of resource, as a policy does."""
    text = "Resource was disallowed by policy: not on a Sunday."
    fault = {"methods": ["PUT", "POST"], "path": path, "times": MANY, "status": 403}
    cloud.control("POST", {**fault, "code": "RequestDisallowedByPolicy", "message": text})


def until(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.broad
def test_each_notebook_gets_the_parameters_that_it_takes() -> None:
    notebooks = {name: (REPOSITORY / "notebooks" / f"{name}.ipynb").read_text() for name in NOTEBOOKS}
    assert set(_OF_IMAGE) == {name for name, text in notebooks.items() if '"image: str = ' in text}
    assert set(NOTEBOOKS) == {name for name, text in notebooks.items() if '"wait: bool = False' in text}


def states(deployment: Deployment) -> dict[str, str]:
    return {step.notebook[:2]: step.state for step in deployment.steps.values()}


@pytest.mark.broad
def test_a_step_that_fails_ends_the_waits_of_the_others_and_a_rerun_goes_on(faults: Rehearsal, tmp_path: Path) -> None:
    image = faults.control("POST", {"path": "/importImage$", "hold": True})
    faults.control("POST", {"methods": ["PUT"], "path": "/flexibleServers/[^/]+$", "hold": True})
    refuse(faults, "/importImage$")
    first = Deployment(open_session("local"), tmp_path / "first")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first.run)
        until(lambda: sum(fault.get("holding", 0) for fault in faults.control("GET")) > 1)
        until(first.steps["07_airflow"].read)
        faults.control("DELETE", {"id": image["id"]})  # the import is repeated, and refused
        until(lambda: first.failed)
        failed = time.time()
        until(lambda: states(first)["07"] == "ended")
        # What step 3 is writing, it writes to its end.
        assert states(first)["03"] == "running"
        faults.control("DELETE")
        running.result()
    ended = states(first)
    assert ended.pop("01") in ("done", "ended")  # it needs nothing of step 2
    assert ended == dict.fromkeys(("03", "04", "05", "06", "07"), "ended") | {"02": "FAILED"}
    reason = "Step 2 (02_registry) failed, so this step ended before it was done."
    for name in ("03_backend", "07_airflow"):
        assert record_of(first, name).failure.startswith(f"StepFailed: {reason}")
    written = [change["kind"] for change in record_of(first, "03_backend").changes if change["applied"]]
    assert "PostgreSQL server" in written
    late = [one for one in faults.requests() if is_write(one) and one["time"] > failed + SECONDS_TO_END]
    assert [one["path"] for one in late if one["method"] == "PUT" and "flexibleServers" not in one["path"]] == []
    assert "1 FAILED, " in str(first)
    with pytest.raises(StepFailed) as caught:
        first.raise_failure()
    assert caught.value.message.startswith("02_registry failed: ")
    assert "not on a Sunday" in caught.value.message
    assert caught.value.action.endswith(" Then run this notebook again: it goes on from there.")

    image = faults.control("POST", {"path": "/importImage$", "hold": True})
    refuse(faults, "/importImage$")
    second, before = Deployment(open_session("local"), tmp_path / "second"), len(faults.requests())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(second.run)
        until(lambda: any(map(is_write, faults.requests()[before:])))
        faults.control("DELETE", {"id": image["id"]})
        running.result()
    assert states(second)["02"] == "FAILED"
    made = {change.kind for change in second.session.memoize(Results).changes if change.applied}
    assert made
    assert not made & {"container registry", "PostgreSQL server", "Entra group"}


def record_of(deployment: Deployment, name: str) -> RunRecord:
    record = deployment.steps[name].read()
    assert record is not None
    return record


@pytest.fixture
def kernel() -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """A kernel as JupyterLab starts it for the notebook."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(REPOSITORY / "notebooks"))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def kernels_of(manager: KernelManager) -> list[psutil.Process]:
    """The kernels that a kernel's deployment has started."""
    kernels = []
    for process in psutil.Process(manager.provisioner.pid).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if "ipykernel_launcher" in process.cmdline():
                kernels.append(process)
    return kernels


@pytest.mark.broad
def test_an_interrupt_ends_every_program_that_it_started(
    faults: Rehearsal, kernel: tuple[KernelManager, BlockingKernelClient], tmp_path: Path
) -> None:
    manager, client = kernel
    faults.control("POST", {"methods": ["GET", "PUT"], "host": "management", "times": MANY, "hold": True})
    request = client.execute(PROGRAM.format(folder=str(tmp_path)))
    until(lambda: faults.control("GET")[0]["holding"] and len(kernels_of(manager)) == len(NOTEBOOKS))
    started = psutil.Process(manager.provisioner.pid).children(recursive=True)
    manager.interrupt_kernel()
    while (reply := client.get_shell_msg(timeout=PATIENCE_SECONDS))["parent_header"].get("msg_id") != request:
        pass
    assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "KeyboardInterrupt")
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []


@pytest.mark.broad
def test_a_killed_deployment_leaves_nothing_waiting(
    faults: Rehearsal, kernel: tuple[KernelManager, BlockingKernelClient], tmp_path: Path
) -> None:
    manager, client = kernel
    faults.control("POST", {"methods": ["GET", "PUT"], "host": "management", "times": MANY, "hold": True})
    client.execute(PROGRAM.format(folder=str(tmp_path)))
    until(lambda: len(kernels_of(manager)) == len(NOTEBOOKS) and faults.control("GET")[0]["holding"])
    started = kernels_of(manager)
    psutil.Process(manager.provisioner.pid).kill()
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
