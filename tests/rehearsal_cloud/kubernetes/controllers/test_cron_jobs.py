"""CronJobs of the rehearsal's cluster, and the schedules that they are due by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal_cloud.kubernetes.controllers.cron import Schedule
from tests.support.workspace import Document, Workspace, template

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("* * * * *", "2026-11-22T12:01"),
        ("0 * * * *", "2026-11-22T13:00"),
        ("*/15 * * * *", "2026-11-22T12:15"),
        ("5/20 * * * *", "2026-11-22T12:05"),
        ("30 6 * * *", "2026-11-23T06:30"),
        ("0 9-17 * * MON-FRI", "2026-11-23T09:00"),
        ("0 0 1 jan,jul *", "2027-01-01T00:00"),
        ("0 0 13 * 5", "2026-11-27T00:00"),
        ("0 0 * * 7", "2026-11-29T00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("@weekly", "2026-11-29T00:00"),
        ("@hourly", "2026-11-22T13:00"),
    ],
)
def test_a_schedule_is_due(text: str, due: str) -> None:
    found = Schedule.parse(text).next(NOON)
    assert found is not None
    assert f"{found:%Y-%m-%dT%H:%M}" == due


def test_a_schedule_may_never_be_due() -> None:
    assert Schedule.parse("0 0 31 2 *").next(NOON) is None


@pytest.mark.parametrize("text", ["60 * * * *", "* 24 * * *", "* * 0 * *", "*/0 * * * *", "* * * *", "a * * * *"])
def test_a_schedule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Schedule.parse(text)


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def overdue(space: Workspace, **spec: Any) -> Callable[[], Document]:
    """Make a CronJob that was due two minutes ago and ran a minute before; return how to look at it."""
    now = datetime.now(UTC)
    path = f"/apis/batch/v1/namespaces/{space.namespace}/cronjobs"
    pod = {"template": template("work", restartPolicy="Never")}
    fields = {
        "schedule": f"{(now - timedelta(minutes=2)).minute} * * * *",
        "suspend": True,
        "jobTemplate": {"spec": pod},
        **spec,
    }
    body = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": fields}
    space.call("POST", path, body)
    past = f"{now - timedelta(minutes=3):%Y-%m-%dT%H:%M:00Z}"
    merge = "application/merge-patch+json"
    space.call("PATCH", f"{path}/tick/status", {"status": {"lastScheduleTime": past}}, merge)
    space.call("PATCH", f"{path}/tick", {"spec": {"suspend": False}}, merge)
    return lambda: space.call("GET", f"{path}/tick")


@pytest.mark.parametrize("api_server", ["rehearsal"], indirect=True)
def test_a_cron_job_makes_one_job_for_what_it_missed(space: Workspace) -> None:
    look = overdue(space)
    (job,) = space.eventually(lambda: space.list("Job"))
    due = job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    minutes = int(datetime.fromisoformat(due).timestamp()) // 60
    assert job["metadata"]["name"] == f"tick-{minutes}"
    assert job["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    assert look()["status"]["lastScheduleTime"] == due
    space.eventually(lambda: [one["name"] for one in look()["status"].get("active", ())] == [f"tick-{minutes}"])
    (pod,) = space.eventually(lambda: space.pods(app="work"))
    space.say(pod, "Succeeded")
    space.eventually(lambda: "lastSuccessfulTime" in look()["status"])


@pytest.mark.parametrize("api_server", ["rehearsal"], indirect=True)
def test_a_cron_job_that_is_too_late_makes_none(space: Workspace) -> None:
    overdue(space, schedule="0 0 1 1 *", startingDeadlineSeconds=10)
    space.steadily(lambda: not space.list("Job"))
