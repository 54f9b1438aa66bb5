"""What most tests stand on: a rehearsal cloud of their own, reached only as a user's programs reach it."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from azure.identity import ClientSecretCredential

from tests.airflow.deployed import Deployed
from tests.notebooks.executed import REPOSITORY, execute

if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGUN = psutil.Process().create_time()


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

    def credential(self, client_id: str = "", secret: str = "") -> ClientSecretCredential:
        """The operator's credential, or that of another application."""
        return ClientSecretCredential(
            self.connection["AZURE_TENANT_ID"],
            client_id or self.connection["AZURE_CLIENT_ID"],
            secret or self.connection["AZURE_CLIENT_SECRET"],
            proxies=self.transport["proxies"],
            connection_verify=self.connection["REQUESTS_CA_BUNDLE"],
        )

    def requests(self) -> list[dict[str, Any]]:
        """The rehearsal's own log of the requests that it answered."""
        return [json.loads(line) for line in (self.home / "requests.jsonl").read_text().splitlines()]

    def control(self, method: str, body: dict[str, Any] | None = None) -> Any:
        """Set (POST), list (GET) or clear (DELETE) the faults that drills and tests ask for."""
        settings = json.loads((self.home / "settings.json").read_text())
        request = urllib.request.Request(
            f"https://localhost:{settings['https_port']}/rehearsal/faults",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {settings['control_token']}"},
        )
        context = ssl.create_default_context(cafile=str(self.home / "ca.pem"))
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with urllib.request.build_opener(*handlers).open(request, timeout=10) as answer:
            return json.load(answer)


def start_rehearsal(home: Path, *options: str) -> Rehearsal:
    """Start a rehearsal in `home` and return how to reach it."""
    return Rehearsal(home, json.loads(run_rehearsal(home, "up", "--json", *options)))


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """The rehearsal cloud that tests share; durations are 1:20,000 of Azure's."""
    home = tmp_path_factory.mktemp("rehearsal")
    started = start_rehearsal(home, "--time-scale", "0.00005")
    os.environ["AIRFLOWAKS_HOME"] = str(home)
    yield started
    run_rehearsal(home, "reset")


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """The Airflow that nbval's run of the notebooks has deployed; where they were left out, it is deployed now."""
    records = tmp_path_factory.mktemp("records")
    made = [path for path in (REPOSITORY / "runs").glob("local-*") if path.stat().st_mtime > _BEGUN]
    if made:
        shutil.copytree(max(made), records, dirs_exist_ok=True)
    else:
        execute(REPOSITORY / "notebooks/00_deploy.ipynb", records / "00_deploy.ipynb", records=str(records))
    return Deployed(start_rehearsal(Path(os.environ["AIRFLOWAKS_HOME"])), records)


@pytest.fixture
def group_name() -> str:
    """A resource group's name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:10]}"
