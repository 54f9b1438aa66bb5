"""`down` ends servers that hang."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.azure_requests import Sender
from tests.support.rehearsal import processes_of, reset_rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broad

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


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    yield folder
    reset_rehearsal(folder)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def make_servers(home: Path) -> list[int]:
    """Make a PostgreSQL server and a broker, and return the ports that they answer on."""
    started = start_rehearsal(home, "--time-scale", "0.0005")
    group = f"/subscriptions/{started.subscription}/resourceGroups/hung"
    server = f"{group}/providers/Microsoft.DBforPostgreSQL/flexibleServers/hung"
    broker = f"{group}/providers/Microsoft.Cache/redisEnterprise/hung"
    with ExitStack() as opened, closing(started.credential()) as credential:
        send = Sender(started, credential, opened)

        def properties(path: str, *states: str) -> dict[str, Any]:
            deadline = time.monotonic() + 60
            while True:
                seen: dict[str, Any] = send("GET", f"{path}?api-version=2025-08-01").json()
                state = seen.get("registrationState") or seen["properties"].get("provisioningState")
                if (state or seen["properties"]["state"]) in states:
                    return seen.get("properties") or {}
                assert time.monotonic() < deadline, seen
                time.sleep(0.02)

        for namespace in ("DBforPostgreSQL", "Cache"):
            path = f"/subscriptions/{started.subscription}/providers/Microsoft.{namespace}"
            send("POST", f"{path}/register?api-version=2025-04-01")
            properties(path, "Registered")
        for path, body in (
            (group, {"location": "westeurope"}),
            (broker, BROKER),
            (f"{broker}/databases/default", DATABASE),
            (server, POSTGRESQL),
        ):
            answer = send("PUT", f"{path}?api-version=2025-08-01", body)
            assert answer.status_code in (200, 201, 202), answer.text()
            made = properties(path, "Succeeded", "Ready")
            if path.endswith("default"):
                port = int(made["port"])
        return [int(made["fullyQualifiedDomainName"].rpartition(":")[2]), port]


def test_down_ends_what_hangs(home: Path) -> None:
    ports = make_servers(home)
    hung = set()
    for line in processes_of(home):
        with suppress(psutil.NoSuchProcess):  # PostgreSQL's workers come and go
            process = psutil.Process(int(line.split()[0]))
            if (name := process.name()) in ("postgres", "valkey-server"):
                process.send_signal(signal.SIGSTOP)
                hung.add(name)
    assert hung == {"postgres", "valkey-server"}
    started = time.monotonic()
    run_rehearsal(home, "down")
    assert time.monotonic() - started < 20
    assert processes_of(home) == []
    start_rehearsal(home)
    assert all(map(listens, ports))
