"""A rehearsal cloud of the tests' own, reached only as a user's programs reach it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from azure.identity import ClientSecretCredential

if TYPE_CHECKING:
    from collections.abc import Iterator


def unmeasured() -> dict[str, str]:
    """Return the environment of a program that is left out of the coverage, and not slowed down by it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def run_rehearsal(home: Path, *arguments: str) -> str:
    """Run the rehearsal's command line on `home` and return what it printed."""
    command = [sys.executable, "-m", "rehearsal_cloud", *arguments, "--home", str(home)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=unmeasured())
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Rehearsal:
    """A running rehearsal cloud: where it lives and how to reach it."""

    home: Path
    connection: dict[str, str] = field(repr=False)

    @property
    def subscription(self) -> str:
        return self.connection["AZURE_SUBSCRIPTION_ID"]

    @property
    def transport(self) -> dict[str, Any]:
        """What every SDK client is given besides its credential; no wait is longer than it must be."""
        proxy = self.connection["HTTPS_PROXY"]
        return {
            "proxies": {"http": proxy, "https": proxy},
            "connection_verify": self.connection["REQUESTS_CA_BUNDLE"],
            "polling_interval": 1,
        }

    def credential(self, client_id: str = "", secret: str = "", **options: Any) -> ClientSecretCredential:
        """The operator's credential, or that of another application."""
        return ClientSecretCredential(
            self.connection["AZURE_TENANT_ID"],
            client_id or self.connection["AZURE_CLIENT_ID"],
            secret or self.connection["AZURE_CLIENT_SECRET"],
            **{
                "proxies": self.transport["proxies"],
                "connection_verify": self.connection["REQUESTS_CA_BUNDLE"],
                **options,
            },
        )

    def requests(self) -> list[dict[str, Any]]:
        """The rehearsal's own log of the requests that it answered."""
        return [json.loads(line) for line in (self.home / "requests.jsonl").read_text().splitlines()]

    def control(self, method: str, body: dict[str, Any] | None = None) -> Any:
        """Set (POST), list (GET) or clear (DELETE, all or one by its id) the faults that drills and tests ask for."""
        settings = json.loads((self.home / "settings.json").read_text())
        request = urllib.request.Request(
            f"https://localhost:{settings['https_port']}/rehearsal/faults",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {settings['control_token']}"},
        )
        context = ssl.create_default_context(cafile=str(self.home / "ca.pem"))
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with urllib.request.build_opener(*handlers).open(request, timeout=60) as answer:
            return json.load(answer)


def start_rehearsal(home: Path, *options: str) -> Rehearsal:
    """Start a rehearsal in `home` and return how to reach it."""
    return Rehearsal(home, json.loads(run_rehearsal(home, "up", "--json", *options)))


@contextmanager
def own_rehearsal() -> Iterator[Rehearsal]:
    """Start a rehearsal that programs and sessions find until the end; durations are 1:20,000 of Azure's.

    The directory replicates at once, so that no test of something else depends on the time between its requests.
    """
    with tempfile.TemporaryDirectory(prefix="airflowaks-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with pytest.MonkeyPatch.context() as patch:
            started = start_rehearsal(home, "--time-scale", "0.00005", "--replication-seconds", "0")
            patch.setenv("AIRFLOWAKS_HOME", folder)
            try:
                yield started
            finally:
                run_rehearsal(home, "reset")


def kill_rehearsal(home: Path) -> None:
    """Kill the daemon as `kill -9` does, and wait until it is dead, reaped or not."""
    daemon = psutil.Process(int((home / "rehearsal.pid").read_text()))
    daemon.kill()
    deadline = time.monotonic() + 60
    with suppress(psutil.NoSuchProcess):
        while daemon.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def processes_of(home: Path) -> list[str]:
    """The processes that were started with this home, or work in it, wherever its folders really stand."""
    places = [home, *(link.readlink() for link in home.glob("services/*/*") if link.is_symlink())]
    found = []
    for process in psutil.process_iter():
        try:
            words, folder = process.cmdline(), process.cwd()
            started = "rehearsal_cloud" in words and str(home) in words
            if started or any(Path(folder).is_relative_to(one) for one in places):
                found.append(f"{process.pid} {process.name()}")
        except psutil.Error:
            continue
    return found


def reset_rehearsal(home: Path) -> None:
    """Reset a rehearsal of a test's own, and prove that nothing is left of it, here or elsewhere."""
    places = [link.readlink() for link in home.glob("services/*/*") if link.is_symlink()]
    run_rehearsal(home, "reset")
    assert processes_of(home) == []
    assert [one for one in (home, *places) if one.exists()] == []
