"""`status`: where a newcomer finds everything, and what a program reads of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.server.status import described
from tests.support.rehearsal import run_rehearsal

if TYPE_CHECKING:
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal

GROUP = "test-status"
PLACES = {
    "Microsoft.KeyVault/vaults": {"properties": {"tenantId": TENANT_ID, "sku": {"family": "A", "name": "standard"}}},
    "Microsoft.ContainerRegistry/registries": {"sku": {"name": "Basic"}},
    "Microsoft.DBforPostgreSQL/flexibleServers": {
        "sku": {"name": "Standard_B1ms", "tier": "Burstable"},
        "properties": {"authConfig": {"activeDirectoryAuth": "Enabled", "passwordAuth": "Disabled"}},
    },
}


def shown(rehearsal: Rehearsal) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_rehearsal(rehearsal.home, "status", "--json"))
    return found


@pytest.fixture(scope="module")
def places(rehearsal: Rehearsal, resources: ResourceManagementClient, send: Sender) -> dict[str, dict[str, Any]]:
    """What is said of a vault, a registry and a server, by their types."""
    resources.resource_groups.create_or_update(GROUP, {"location": "westeurope"})
    for kind, body in PLACES.items():
        namespace = kind.partition("/")[0]
        while resources.providers.register(namespace).registration_state != "Registered":
            time.sleep(0.05)
        path = f"/subscriptions/{rehearsal.subscription}/resourceGroups/{GROUP}/providers/{kind}/teststatus"
        made = send("PUT", f"{path}?api-version=2026-02-01", {"location": "westeurope"} | body)
        assert made.status_code in (200, 201, 202), made.text()
    deadline = time.monotonic() + 60
    while True:
        found = {one["type"]: one for one in shown(rehearsal)["resources"] if one["group"] == GROUP}
        if {one["state"] for one in found.values()} == {"Succeeded"}:
            return found
        assert time.monotonic() < deadline, found


def test_every_place_is_named(rehearsal: Rehearsal, places: dict[str, dict[str, Any]], send: Sender) -> None:
    vault, registry, server = (places[kind] for kind in PLACES)
    assert vault["address"] == "https://teststatus.vault.azure.net/"
    assert registry["address"] == "teststatus.azurecr.io"
    answer = send("GET", f"{server['id']}?api-version=2026-02-01").json()
    assert server["address"] == answer["properties"]["fullyQualifiedDomainName"]
    assert server["name"] == "teststatus"
    text = run_rehearsal(rehearsal.home, "status")
    about = shown(rehearsal)
    assert about["proxy"] == rehearsal.connection["HTTPS_PROXY"]
    for value in (about["home"], about["proxy"], about["ca"], about["log"], about["requests"]):
        assert value in text
    for one in places.values():
        (row,) = [line.split() for line in text.splitlines() if one["type"] in line and GROUP in line]
        assert row == [GROUP, one["type"], one["name"], one["state"], one["address"]]
    assert 'eval "$(airflowaks rehearsal env)"' in text  # AIRFLOWAKS_HOME names this home


def test_what_ended_since_it_was_found_is_not_named() -> None:
    ended = psutil.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    present = psutil.Process()
    assert described([ended, present]) == [f"{one.pid} {one.name()}" for one in (ended, present)]
    ended.communicate(b"\n", timeout=60)
    assert described([ended, present]) == [f"{present.pid} {present.name()}"]


def test_no_secret_is_shown(rehearsal: Rehearsal, places: dict[str, dict[str, Any]]) -> None:
    del places
    settings = json.loads((rehearsal.home / "settings.json").read_text())
    for text in (run_rehearsal(rehearsal.home, "status"), run_rehearsal(rehearsal.home, "status", "--json")):
        assert settings["operator_secret"] not in text
        assert settings["control_token"] not in text
        assert '"_secret"' not in text
