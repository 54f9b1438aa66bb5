"""The daemon's life: up, down, status, env, reset; and that being killed loses nothing that was answered."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Self

import psutil
import pytest
from azure.keyvault.secrets import SecretClient

from rehearsal_cloud.home import OPERATOR_OBJECT_ID, TENANT_ID
from tests.support.azure_requests import Sender
from tests.support.rehearsal import (
    Rehearsal,
    kill_rehearsal,
    processes_of,
    reset_rehearsal,
    run_rehearsal,
    start_rehearsal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broad

SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home of the test's own; whatever runs in it is stopped."""
    folder = tmp_path / "home"
    yield folder
    reset_rehearsal(folder)


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "rehearsal_cloud", *arguments, "--home", str(home)]
    return subprocess.run(line, check=False, capture_output=True, text=True)


def status(home: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(run_rehearsal(home, "status", "--json"))
    return found


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A rehearsal that tests only look at."""
    home = tmp_path_factory.mktemp("looked-at") / "home"
    yield start_rehearsal(home)
    reset_rehearsal(home)


def test_up_twice_is_one_daemon(started: Rehearsal) -> None:
    pid = status(started.home)["pid"]
    assert start_rehearsal(started.home) == started
    assert status(started.home)["pid"] == pid


def test_two_at_once_start_one(home: Path) -> None:
    with ThreadPoolExecutor() as both:
        first, second = both.map(lambda _: start_rehearsal(home), range(2))
    assert first == second
    assert len(processes_of(home)) == 1


def test_down_leaves_no_process_and_remembers(home: Path) -> None:
    first = start_rehearsal(home, "--time-scale", "0.5")
    assert processes_of(home)
    run_rehearsal(home, "down")
    assert processes_of(home) == []
    assert status(home) == {"home": str(home), "running": False}
    assert f"airflowaks rehearsal --home {home} up" in run_rehearsal(home, "status")
    assert start_rehearsal(home) == first
    assert status(home)["time scale"] == 0.5


def test_another_scale_starts_it_anew(home: Path) -> None:
    start_rehearsal(home)
    pid = status(home)["pid"]
    start_rehearsal(home, "--time-scale", "0.5")
    assert status(home)["pid"] != pid


def test_down_and_reset_of_nothing_are_no_error(home: Path) -> None:
    for word in ("down", "reset", "down"):
        assert command(home, word).returncode == 0


def test_env_is_read_by_a_shell(started: Rehearsal, tmp_path: Path) -> None:
    refused = command(tmp_path, "env")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 2
    assert "airflowaks rehearsal up" in refused.stderr
    line = f'eval "$({sys.executable} -m rehearsal_cloud env --home {shlex.quote(str(started.home))})"; env'
    shown = subprocess.run(["/bin/sh", "-c", line], check=True, capture_output=True, text=True).stdout
    assert dict(one.split("=", 1) for one in shown.splitlines() if "=" in one).items() >= started.connection.items()


def test_reset_forgets_all(home: Path) -> None:
    first = start_rehearsal(home)
    with Clients(first) as clients:
        clients.send("PUT", clients.group("one"), {"location": "westeurope"})
    run_rehearsal(home, "reset")
    assert processes_of(home) == []
    assert not home.exists()
    second = start_rehearsal(home)
    assert second.connection["AZURE_CLIENT_SECRET"] != first.connection["AZURE_CLIENT_SECRET"]
    with Clients(second) as clients:
        assert clients.send("GET", clients.group("one")).status_code == 404


def test_up_reset_and_down_at_once_take_turns(home: Path) -> None:
    words = (("up", "--json"), ("reset",), ("down",), ("up",), ("reset",))
    for _ in range(4):
        with ThreadPoolExecutor(len(words)) as pool:
            for done in pool.map(lambda each: command(home, *each), words):
                assert (done.returncode, done.stderr) == (0, "")
        if home.exists():
            assert (home / "settings.json").exists(), sorted(home.iterdir())
        assert len(processes_of(home)) == (1 if status(home)["running"] else 0)
    again = start_rehearsal(home)
    with Clients(again) as clients:
        assert clients.send("PUT", clients.group("one"), {"location": "westeurope"}).status_code == 201


def test_two_homes_stand_side_by_side(tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    try:
        first, second = (start_rehearsal(one) for one in homes)
        assert first.connection["HTTPS_PROXY"] != second.connection["HTTPS_PROXY"]
        with Clients(first) as clients:
            clients.send("PUT", clients.group("one"), {"location": "westeurope"})
        with Clients(second) as clients:
            assert clients.send("GET", clients.group("one")).status_code == 404
        run_rehearsal(homes[0], "down")
        assert status(homes[1])["running"] is True
    finally:
        for one in homes:
            reset_rehearsal(one)


def test_a_port_that_is_taken_is_said_in_one_line(home: Path) -> None:
    start_rehearsal(home)
    run_rehearsal(home, "down")
    settings = json.loads((home / "settings.json").read_text())
    for port in (settings["proxy_port"], settings["https_port"]):
        with socket.create_server(("127.0.0.1", port)):
            refused = command(home, "up")
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 2
        assert f"port {port}, which this home remembers, is in use by another program" in refused.stderr


def test_a_client_that_stays_connected_hinders_no_end_and_leaves_no_trace_in_the_log(home: Path) -> None:
    first = start_rehearsal(home)
    with Clients(first) as clients:
        assert clients.send("GET", clients.group("none")).status_code == 404
        daemon = psutil.Process(int((home / "rehearsal.pid").read_text()))
        daemon.terminate()
        psutil.wait_procs([daemon], timeout=60)
        assert processes_of(home) == []
    assert (home / "rehearsal.log").read_text() == ""


def test_a_home_with_spaces_and_a_long_name(tmp_path: Path) -> None:
    home = tmp_path / 'my rehearsal\'s \u00e4 "home"' / ("long" * 50)
    try:
        first = start_rehearsal(home)
        assert start_rehearsal(home) == first
        line = f'eval "$({sys.executable} -m rehearsal_cloud env --home {shlex.quote(str(home))})"; env'
        shown = subprocess.run(["/bin/sh", "-c", line], check=True, capture_output=True, text=True).stdout
        assert f"REQUESTS_CA_BUNDLE={home / 'ca.pem'}" in shown.splitlines()
        run_rehearsal(home, "down")
        assert processes_of(home) == []
        start_rehearsal(home)
    finally:
        reset_rehearsal(home)


def test_its_files_are_for_its_user_alone(started: Rehearsal) -> None:
    home = started.home
    assert home.stat().st_mode & 0o077 == 0
    for name in ("settings.json", "ca-key.pem", "cloud.sqlite"):
        assert (home / name).stat().st_mode & 0o077 == 0, name


def test_its_secret_is_in_no_argument_list(started: Rehearsal) -> None:
    secret = started.connection["AZURE_CLIENT_SECRET"]
    assert all(secret not in " ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"]))


# Killed


class Clients:
    """A sender and what it is often sent to, closed together."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._opened = ExitStack()
        self._rehearsal = rehearsal
        self.credential = self._opened.enter_context(closing(rehearsal.credential()))
        self.send = Sender(rehearsal, self.credential, self._opened)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def group(self, name: str) -> str:
        return f"/subscriptions/{self._rehearsal.subscription}/resourceGroups/{name}?api-version=2025-04-01"

    def vault(self, name: str) -> str:
        group = self.group("one").partition("?")[0]
        return f"{group}/providers/Microsoft.KeyVault/vaults/{name}?api-version=2026-02-01"

    def make_vault(self, name: str) -> None:
        """Ask for a vault, with group, registration and the operator's role; do not wait for it."""
        self.send("PUT", self.group("one"), {"location": "westeurope"})
        provider = f"/subscriptions/{self._rehearsal.subscription}/providers/Microsoft.KeyVault"
        state = self.send("POST", f"{provider}/register?api-version=2025-04-01").json()["registrationState"]
        while state != "Registered":
            time.sleep(0.05)
            state = self.send("GET", f"{provider}?api-version=2025-04-01").json()["registrationState"]
        properties = {"tenantId": TENANT_ID, "sku": {"family": "A", "name": "standard"}}
        made = self.send("PUT", self.vault(name), {"location": "westeurope", "properties": properties})
        assert made.status_code == 200

    def grant(self, name: str) -> None:
        scope = self.vault(name).partition("?")[0]
        role = f"/subscriptions/{self._rehearsal.subscription}/providers/Microsoft.Authorization/roleDefinitions"
        body = {"properties": {"roleDefinitionId": f"{role}/{SECRETS_OFFICER}", "principalId": OPERATOR_OBJECT_ID}}
        url = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=2022-04-01"
        assert self.send("PUT", url, body).status_code == 201

    def state(self, name: str) -> str:
        return str(self.send("GET", self.vault(name)).json()["properties"]["provisioningState"])

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + 60
        while self.state(name) != "Succeeded":
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_killed_and_started_again_it_has_all_that_it_answered(home: Path, vault_name: str) -> None:
    first = start_rehearsal(home, "--time-scale", "0.0005")
    with Clients(first) as clients:
        clients.make_vault(vault_name)
        clients.wait_for(vault_name)
        clients.grant(vault_name)
        url = f"https://{vault_name}.vault.azure.net"
        with SecretClient(url, clients.credential, **first.transport) as secrets:
            for number in range(20):
                secrets.set_secret(f"name-{number:02}", str(number))
            secrets.begin_delete_secret("name-19").wait()
            kill_rehearsal(home)
        assert start_rehearsal(home) == first
        with SecretClient(url, clients.credential, **first.transport) as secrets:
            found = {one.name: secrets.get_secret(str(one.name)).value for one in secrets.list_properties_of_secrets()}
            assert found == {f"name-{number:02}": str(number) for number in range(19)}
            assert [one.name for one in secrets.list_deleted_secrets()] == ["name-19"]


def test_an_interrupted_operation_is_resumed(home: Path, vault_name: str) -> None:
    first = start_rehearsal(home, "--time-scale", "0.05")  # a vault takes a second
    with Clients(first) as clients:
        clients.make_vault(vault_name)
        assert clients.state(vault_name) == "RegisteringDns"
        kill_rehearsal(home)
        start_rehearsal(home)
        clients.wait_for(vault_name)
        start_rehearsal(home, "--time-scale", "0.005")
        clients.send("DELETE", clients.group("one"))
        kill_rehearsal(home)
        start_rehearsal(home)
        deadline = time.monotonic() + 60
        while clients.send("GET", clients.group("one")).status_code != 404:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_killed_at_any_moment_it_is_as_it_answered_or_as_before(home: Path) -> None:
    """Groups are made as fast as they can be while the daemon is killed: each that was answered is there."""
    first = start_rehearsal(home)
    answered: list[str] = []
    for attempt in range(3):
        with Clients(first) as clients:
            clients.send("GET", clients.group("none"))

            def make(clients: Clients = clients, attempt: int = attempt) -> None:
                for number in range(10_000):
                    name = f"group-{attempt}-{number}"
                    if clients.send("PUT", clients.group(name), {"location": "westeurope"}).status_code == 201:
                        answered.append(name)

            with ThreadPoolExecutor(1) as making:
                done = making.submit(make)
                time.sleep(0.3)
                kill_rehearsal(home)
                assert done.exception(timeout=30) is not None
        start_rehearsal(home)
    assert answered
    with Clients(first) as clients:
        url = clients.group("none").replace("/resourceGroups/none", "/resourcegroups")
        assert set(answered) <= {one["name"] for one in clients.send("GET", url).json()["value"]}
