"""The buttons of the troubleshooting notebook, pressed in a real kernel by the messages of JupyterLab."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from airflowaks.diagnosis.finding import FINDINGS_MIME
from airflowaks.engine.changes import CHANGES_MIME
from airflowaks.engine.polling import wait_until
from airflowaks.kube.client import Reference, connect
from airflowaks.session import open_session
from tests.support.deployment import is_write
from tests.support.notebooks import execute, write_notebook
from tests.support.talking_pods import NAMESPACE, START, TALKS, pod

if TYPE_CHECKING:
    from pathlib import Path

    from airflowaks.kube.client import Document, Kube
    from tests.support.page import Page
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

WIDGET = "application/vnd.jupyter.widget-view+json"
PROVIDER = "Microsoft.Cache"
FIX = "shows what fixing AKA-101 would change, and asks"
EARLIER = timedelta(minutes=5)
FOLLOWERS = "import threading; print(sum(one.name == 'refresher' for one in threading.enumerate()))"
VIEWERS = """
import gc
from airflowaks.notebook.widgets.log_viewer import LogViewer
gc.collect()
print(sum(isinstance(one, LogViewer) for one in gc.get_objects()))
"""


def logs_asked(rehearsal: Rehearsal, pod: str) -> list[dict[str, Any]]:
    """The requests for a pod's log that the cluster's API has answered."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"
    return [one for one in rehearsal.requests() if one["path"] == path]


def ready_nodes(kube: Kube) -> list[str]:
    nodes = list(kube.each("v1", "Node"))
    return [one["metadata"]["name"] for one in nodes if conditions(one)["Ready"] == "True"]


def conditions(node: Document) -> dict[str, str]:
    return {one["type"]: one["status"] for one in node["status"]["conditions"]}


def ticks(page: Page) -> list[int]:
    return [int(one) for one in re.findall(r"tick (\d+)", page.shown())]


def test_a_log_is_fetched_from_the_cluster_and_filtered_where_it_is(page: Page, rehearsal: Rehearsal) -> None:
    page.run("dashboard.logs()")
    assert page.widget("Pod")["_options_labels"][0] == "fails (not ready)", "what is ill comes first"
    page.choose("Pod", "talks")
    before = len(logs_asked(rehearsal, "talks"))
    page.click("Fetch")
    page.until(lambda: ticks(page))
    (asked,) = logs_asked(rehearsal, "talks")[before:]
    assert "tailLines=200" in asked["query"]
    last = ticks(page)[-1]
    page.set("Filter", value=f"TICK {last}")
    page.until(lambda: ticks(page) == [last])
    assert len(logs_asked(rehearsal, "talks")) == before + 1


def test_what_does_not_run_is_asked_for_by_name(page: Page) -> None:
    page.run("dashboard.waiting()")
    page.set("Task", value="sales//load")
    page.click("Why?")
    page.until(lambda: "task must be DAG, DAG/RUN or DAG/RUN/TASK" in page.shown())
    page.set("Task", value="sales")
    page.click("Why?")
    page.until(lambda: "does not exist" in page.shown())


def test_what_was_said_before_the_last_restart_is_fetched_too(page: Page, rehearsal: Rehearsal) -> None:
    page.run("dashboard.logs()")
    page.set("before its last restart", value=True)
    page.click("Fetch")
    page.until(lambda: page.shown().count("about to fail"))
    assert "previous=true" in logs_asked(rehearsal, "fails")[-1]["query"]


def test_a_follow_shows_what_comes_until_it_is_stopped_and_leaves_no_thread(page: Page, rehearsal: Rehearsal) -> None:
    page.run("dashboard.logs()")
    page.choose("Pod", "talks")
    page.set("Follow", value=True)
    page.until(lambda: ticks(page))
    first = max(ticks(page))
    page.until(lambda: max(ticks(page)) > first + 12)
    shown = ticks(page)
    assert shown == list(range(shown[0], shown[-1] + 1)), "no line twice, and none left out"
    page.set("Follow", value=False)
    assert page.printed(FOLLOWERS) == "0\n"
    asked = len(logs_asked(rehearsal, "talks"))
    time.sleep(1.5)
    assert len(logs_asked(rehearsal, "talks")) == asked


def test_whatever_is_followed_is_no_longer_once_another_is_chosen_or_shown(page: Page) -> None:
    page.run("dashboard.logs()")
    page.choose("Pod", "talks")
    page.set("Follow", value=True)
    page.until(lambda: ticks(page))
    page.choose("Pod", "fails")
    assert page.printed(FOLLOWERS) == "0\n"
    page.set("Follow", value=True)
    page.until(lambda: "about to fail" in page.shown())
    page.run("dashboard.logs()")
    assert page.printed(FOLLOWERS) == "0\n"


def test_a_fix_shows_what_it_would_change_and_writes_once_the_name_is_typed(page: Page, rehearsal: Rehearsal) -> None:
    session = open_session("desk")
    session.resources.providers.unregister(PROVIDER)

    def state() -> str | None:
        return session.resources.providers.get(PROVIDER).registration_state

    page.run("dashboard")
    assert PROVIDER not in page.shown()
    page.click("Refresh")
    page.until(lambda: page.has(FIX) and PROVIDER in page.shown())
    page.click(FIX)
    page.until(lambda: page.has("desk") and "1 to update" in page.shown())
    before = len(rehearsal.requests())
    page.click("Apply to desk")
    page.set("desk", value="dusk")
    page.click("Apply to desk")
    assert page.printed("print(len(run.results.changes))") == "0\n"
    assert not [one for one in rehearsal.requests()[before:] if is_write(one)]
    assert state() != "Registered"
    page.run("dashboard.recovery_seconds = 0")  # most of it is not there
    closed = page.run("run.close()")
    page.set("desk", value="desk")
    page.click("Apply to desk")
    page.until(lambda: "1 updated" in page.shown())
    (changes,) = [one["data"][CHANGES_MIME] for one in closed if CHANGES_MIME in one["data"]]
    (change,) = [one for one in changes if one["applied"]]
    assert change["differences"][0]["after"] == "Registered"
    assert state() == "Registered"
    page.until(lambda: "unregistered" not in page.shown())
    assert page.printed("print(sum(one.applied for one in run.results.changes), run.session.mode)") == "1 plan\n"


def test_a_failure_is_said_beside_its_button(page: Page) -> None:
    kube = open_session("desk", "plan").memoize(connect)
    kube.create(pod("goes", "triggerer", TALKS))
    page.run("dashboard.refresh(); dashboard.logs()")
    page.choose("Pod", "goes")
    kube.delete(Reference("v1", "Pod", "goes", NAMESPACE), grace_seconds=0)
    page.click("Fetch")
    page.until(lambda: "&quot;goes&quot; not found" in page.shown())


def test_what_is_over_is_not_read(page: Page, rehearsal: Rehearsal) -> None:
    begun = datetime.now(UTC)
    page.run("dashboard.refresh()")
    kube = open_session("desk", "plan").memoize(connect)
    fails = kube.get(Reference("v1", "Pod", "fails", NAMESPACE)) or {}
    (ready,) = (one for one in fails["status"]["conditions"] if one["type"] == "Ready")
    since = {pod: parse_qs(logs_asked(rehearsal, pod)[-1]["query"])["sinceTime"][0] for pod in ("talks", "fails")}
    assert timedelta(minutes=59) < begun - datetime.fromisoformat(since["talks"]) < timedelta(minutes=61)
    assert datetime.fromisoformat(ready["lastTransitionTime"]) - datetime.fromisoformat(since["fails"]) == EARLIER


def test_a_machine_that_is_silent_is_not_asked_for_logs(page: Page, rehearsal: Rehearsal) -> None:
    kube = open_session("desk", "plan").memoize(connect)
    rehearsal.control("POST", {"breakdown": "silence"})
    try:
        wait_until(lambda: ready_nodes(kube), lambda ready: not ready, 60)
        before = len(logs_asked(rehearsal, "talks")), len(logs_asked(rehearsal, "fails"))
        page.run("dashboard.refresh()")
        assert (len(logs_asked(rehearsal, "talks")), len(logs_asked(rehearsal, "fails"))) == before
        assert "AKA-812" in page.printed("print([one.id for one in dashboard.diagnosis.findings])")
    finally:
        rehearsal.control("DELETE")
    wait_until(lambda: ready_nodes(kube), bool, 60)


def test_what_a_container_that_is_ready_again_said_before_is_no_evidence(page: Page) -> None:
    page.run("dashboard.refresh(); seen = dashboard.diagnosis.facts.kubernetes.pods['fails'].containers")
    assert page.printed("print(seen['main'].previous.strip())") == "about to fail, as of old-password\n"
    assert page.printed("print(seen['beside'].restarts, seen['beside'].ready, seen['beside'].previous)") == "1 True \n"


def test_a_viewer_that_was_replaced_is_forgotten(page: Page) -> None:
    page.run("for _ in range(3):\n    newest = dashboard.logs()\ndashboard.refresh()")
    kept = int(page.printed(VIEWERS))
    page.run("for _ in range(3):\n    newest = dashboard.logs()\ndashboard.refresh()")
    assert int(page.printed(VIEWERS)) == kept


def test_headless_it_is_tables_and_no_widget_is_made(checkout: Path, tmp_path: Path) -> None:
    cells = ["dashboard", "dashboard.history()", "dashboard.sources()", "dashboard.logs()"]
    code = [START, *cells, "import sys; print('ipywidgets' in sys.modules)"]
    notebook = write_notebook(checkout / "small.ipynb", 'env: str = "desk"\nmode: str = "plan"', *code)
    record = execute(notebook, tmp_path / "record.ipynb")
    assert not record.errors
    assert not record.shown(WIDGET)
    assert record.shown(FINDINGS_MIME)
    assert [one.text for one in record.outputs if one.output_type == "stream"] == ["False\n"]
    assert any("about to fail" in text for text in record.shown("text/plain"))


def test_what_is_shown_with_buttons_is_kept_without(page: Page) -> None:
    for cell in ("dashboard", "dashboard.history()", "dashboard.sources()", "dashboard.logs()"):
        (shown,) = [one["data"] for one in page.run(cell)]
        assert shown[WIDGET]
        assert "VBox" not in shown["text/plain"]


def test_secrets_stay_out_of_widgets(page: Page) -> None:
    page.run("_ = run.session.redactor.learn('old-password')\ndashboard.logs()")
    page.click("Fetch")
    page.until(lambda: "about to fail, as of (secret)" in page.shown())
    assert "old-password" not in page.shown()
