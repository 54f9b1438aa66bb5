"""People sign in to the deployed Airflow with a browser, through the port-forward, as on Azure."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from airflowaks.session import open_session
from airflowaks.steps import api_server, cluster
from tests.support.azure_requests import GRAPH, Sender, when_replicated
from tests.support.browser import CHROMIUM, Browser, browser
from tests.support.registrations import ADMINISTRATOR, DEVELOPER, OUTSIDER, VIEWER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.deployed import Deployed

pytestmark = [
    pytest.mark.broad,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: apt-get install chromium"),
]
SMOKE = "/api/v2/dags/smoke"
VARIABLE = "/api/v2/variables"


@pytest.fixture(scope="module")
def address(airflow: Deployed) -> Iterator[str]:
    assert airflow
    with api_server.forwarded(open_session("local", "plan")) as port:
        yield f"http://localhost:{port}"


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path / "profile") as opened:
        yield opened


def choose(tab: Browser, address: str, user: str) -> None:
    """Open Airflow, and choose a user on Entra's page."""
    tab.open(f"{address}/")
    tab.click("#btn-signin-azure")
    tab.click(f"button[value='{user}']")


def sign_in(tab: Browser, address: str, user: str) -> None:
    choose(tab, address, user)
    tab.until(f"location.href.startsWith({json.dumps(address)}) && !location.pathname.startsWith('/auth')")
    tab.until("document.querySelector('nav, #root a') !== null")


@pytest.mark.parametrize(
    ("user", "reads", "pauses", "connections", "users"),
    [(ADMINISTRATOR, 200, 200, 200, 200), (DEVELOPER, 200, 200, 200, 403), (VIEWER, 200, 403, 403, 403)],
    ids=["administrator", "developer", "viewer"],
)
def test_each_may_do_what_the_group_may(
    tab: Browser, address: str, user: str, reads: int, pauses: int, connections: int, users: int
) -> None:
    sign_in(tab, address, user)
    assert tab.status("GET", SMOKE) == reads
    for paused in (True, False):
        assert tab.status("PATCH", SMOKE, {"is_paused": paused}) == pauses
    assert tab.status("GET", "/api/v2/connections") == connections
    assert tab.status("GET", "/auth/fab/v1/users") == users
    assert tab.evaluate("document.body.innerText.includes('Admin')") is (connections == 200)


def test_who_is_in_no_group_does_not_get_to_airflow(tab: Browser, address: str) -> None:
    choose(tab, address, OUTSIDER)
    tab.until("document.body.innerText.includes('AADSTS50105')")
    assert not tab.address.startswith(address)


def test_who_leaves_the_group_is_out_at_the_next_sign_in(airflow: Deployed, tab: Browser, address: str) -> None:
    sign_in(tab, address, DEVELOPER)
    members = f"{GRAPH}/groups/{open_session('local', 'plan').memoize(cluster.Resources).developers.id}/members"
    with ExitStack() as opened:
        send = Sender(airflow.cloud, airflow.cloud.credential(), opened)
        assert send("DELETE", f"{members}/{DEVELOPER}/$ref").status_code == 204
        try:
            tab.forget()
            choose(tab, address, DEVELOPER)
            tab.until("document.body.innerText.includes('AADSTS50105')")
        finally:
            again = {"@odata.id": f"{GRAPH}/directoryObjects/{DEVELOPER}"}
            assert when_replicated(partial(send, "POST", f"{members}/$ref", again)).status_code == 204
    sign_in(tab, address, DEVELOPER)
    assert tab.status("GET", SMOKE) == 200
