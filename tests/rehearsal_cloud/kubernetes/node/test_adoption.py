"""Containers after `kill -9` of the rehearsal, and after its end."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support import managed_cluster as azure
from tests.support.azure_requests import Sender
from tests.support.node import GROUP, Namespace, admin, python
from tests.support.rehearsal import kill_rehearsal, processes_of, reset_rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broad

# What hides its environment, as setproctitle does, leaves its parent and its session, must be found nevertheless.
HIDES = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, ["hidden", "-c", "import time; time.sleep(1000)"], {})
    os._exit(0)
print("up", os.getpid(), flush=True)
time.sleep(1000)
"""


def test_containers_outlive_the_rehearsal_but_not_its_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    started = start_rehearsal(home)
    try:
        with ExitStack() as opened, closing(started.credential()) as credential:
            send = Sender(started, credential, opened)
            send("PUT", f"{_group(started.subscription)}?api-version=2025-04-01", {"location": "westeurope"})
            cluster = azure.managed_cluster(send, started.subscription, GROUP, aadProfile=None)
            with admin(send, cluster) as api:
                namespace = Namespace(api, "adoption")
                pod = namespace.pod(python(HIDES), restartPolicy="Always")
                namespace.until(lambda: namespace.read(pod).status.phase == "Running" and namespace.log(pod))
                said, before = namespace.log(pod), namespace.read(pod).status.container_statuses[0]
                process = psutil.Process(int(said.split()[1]))

                kill_rehearsal(home)
                start_rehearsal(home)
                namespace.ready(pod)
                after = namespace.read(pod).status.container_statuses[0]
                assert (after.container_id, after.restart_count) == (before.container_id, 0)
                assert namespace.log(pod) == said
                assert process.is_running()

                run_rehearsal(home, "down")
                assert not process.is_running()
                assert processes_of(home) == []
                assert _hidden() == []

                start_rehearsal(home)
                again = namespace.reaches(pod, lambda found: found.status.container_statuses[0].ready)
                assert again.status.container_statuses[0].restart_count >= 1

                kill_rehearsal(home)
                run_rehearsal(home, "down")
                assert processes_of(home) == []
                assert _hidden() == []
    finally:
        reset_rehearsal(home)


def _group(subscription: str) -> str:
    return f"/subscriptions/{subscription}/resourceGroups/{GROUP}"


def _hidden() -> list[psutil.Process]:
    return [one for one in psutil.process_iter() if _is_hidden(one)]


def _is_hidden(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[:1] == ["hidden"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
