"""What a rehearsal is like after `kill -9` while servers are made and deleted, and after programs that hang."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.azure_requests import Sender
from tests.support.rehearsal import kill_rehearsal, processes_of, reset_rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broad

TERMINAL = ("Succeeded", "Failed", "Ready")
POSTGRESQL = {
    "location": "westeurope",
    "sku": {"name": "Standard_B1ms", "tier": "Burstable"},
    "properties": {
        "version": "17",
        "storage": {"storageSizeGB": 32},
        "authConfig": {"activeDirectoryAuth": "Enabled", "passwordAuth": "Disabled"},
    },
}
BROKER = {
    "location": "westeurope",
    "sku": {"name": "Balanced_B0"},
    "properties": {"publicNetworkAccess": "Enabled", "highAvailability": "Disabled"},
}
DATABASE = {"properties": {"clusteringPolicy": "NoCluster", "evictionPolicy": "NoEviction"}}
CLUSTER = {
    "location": "westeurope",
    "identity": {"type": "SystemAssigned"},
    "properties": {
        "dnsPrefix": "airflow",
        "agentPoolProfiles": [{"name": "system", "mode": "System", "count": 1, "vmSize": "Standard_D2s_v5"}],
    },
}


class Killed:
    """A rehearsal that is killed again and again, and the group that its resources are in."""

    def __init__(self, home: Path, send: Sender, subscription: str) -> None:
        self.home, self._send = home, send
        self._subscription = f"/subscriptions/{subscription}"
        self._group = f"{self._subscription}/resourceGroups/crashes"
        self.server = f"{self._group}/providers/Microsoft.DBforPostgreSQL/flexibleServers/crashes"
        self.broker = f"{self._group}/providers/Microsoft.Cache/redisEnterprise/crashes"
        self.database = f"{self.broker}/databases/default"
        self.cluster = f"{self._group}/providers/Microsoft.ContainerService/managedClusters/crashes"
        for namespace in ("DBforPostgreSQL", "Cache", "ContainerService", "ManagedIdentity"):
            path = f"{self._subscription}/providers/Microsoft.{namespace}/register?api-version=2025-04-01"
            deadline = time.monotonic() + 60
            while send("POST", path).json()["registrationState"] != "Registered":
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def put(self, path: str, body: dict[str, Any]) -> None:
        """Ask for a resource; nobody waits for it."""
        answer = self._send("PUT", f"{path}?api-version=2025-08-01", body)
        assert answer.status_code in (200, 201, 202), answer.text()

    def make_group(self) -> None:
        self.put(self._group, {"location": "westeurope"})

    def delete_group(self) -> None:
        assert self._send("DELETE", f"{self._group}?api-version=2025-04-01").status_code == 202

    def groups(self) -> list[str]:
        found = self._send("GET", f"{self._subscription}/resourcegroups?api-version=2025-04-01").json()["value"]
        return [one["name"] for one in found]

    def properties(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._send("GET", f"{path}?api-version=2025-08-01").json()["properties"]
        return found

    def state(self, path: str) -> str:
        """The state that the resource settles in."""
        deadline = time.monotonic() + 60
        while True:
            found = self.properties(path)
            state = str(found.get("provisioningState") or found.get("state"))
            if state in TERMINAL:
                return state
            assert time.monotonic() < deadline, state
            time.sleep(0.02)

    def ports(self) -> list[int]:
        """The ports that the server and the broker answer on."""
        name = self.properties(self.server)["fullyQualifiedDomainName"]
        return [int(name.rpartition(":")[2]), int(self.properties(self.database)["port"])]

    def die_and_rise(self, seconds: float) -> None:
        """Be killed after so many seconds and started again."""
        time.sleep(seconds)
        kill_rehearsal(self.home)
        start_rehearsal(self.home)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    home = tmp_path_factory.mktemp("killed") / "home"
    started = start_rehearsal(home, "--time-scale", "0.0005")
    with ExitStack() as opened, closing(started.credential()) as credential:
        yield Killed(home, Sender(started, credential, opened), started.subscription)
    reset_rehearsal(home)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# The first server's creation also copies programs and runs initdb: some moments lie in that, some in what follows it.
@pytest.mark.parametrize("moment", [0.7, 0.0, 0.2])
def test_killed_while_making_and_deleting_everything_ends_well(killed: Killed, moment: float) -> None:
    killed.make_group()
    killed.put(killed.broker, BROKER)
    killed.state(killed.broker)
    for path, body in (
        (killed.server, POSTGRESQL),
        (killed.database, DATABASE),
        (killed.cluster, CLUSTER),
    ):
        killed.put(path, body)
    killed.die_and_rise(moment)
    assert killed.state(killed.server) == "Ready"
    assert killed.state(killed.database) == killed.state(killed.cluster) == "Succeeded"
    assert all(map(listens, killed.ports()))

    ports = killed.ports()
    killed.put(f"{killed.server}/databases/airflow", {})
    killed.delete_group()
    killed.die_and_rise(moment / 2)
    deadline = time.monotonic() + 60
    while killed.groups():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not any(map(listens, ports))
    assert len(processes_of(killed.home)) == 1, "more than the daemon"
    left = {one.name for one in (killed.home / "services").iterdir()}
    assert left == {"postgresql"}, "more than the programs and the template of all servers"
    assert "Traceback" not in (killed.home / "rehearsal.log").read_text()


def test_down_ends_what_hangs(killed: Killed) -> None:
    killed.make_group()
    killed.put(killed.broker, BROKER)
    killed.state(killed.broker)
    killed.put(killed.server, POSTGRESQL)
    killed.put(killed.database, DATABASE)
    assert killed.state(killed.server) == "Ready"
    assert killed.state(killed.database) == "Succeeded"
    hung = set()
    for one in processes_of(killed.home):
        with suppress(psutil.NoSuchProcess):  # PostgreSQL's workers come and go
            process = psutil.Process(int(one.split()[0]))
            if (name := process.name()) in ("postgres", "valkey-server"):
                process.send_signal(signal.SIGSTOP)
                hung.add(name)
    assert hung == {"postgres", "valkey-server"}
    started = time.monotonic()
    run_rehearsal(killed.home, "down")
    assert time.monotonic() - started < 20
    assert processes_of(killed.home) == []
    start_rehearsal(killed.home)
    assert all(map(listens, killed.ports()))
