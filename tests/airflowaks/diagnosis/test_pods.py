"""Which pods count as ill, by what the cluster's API says of them alone; and what their history shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from airflowaks.diagnosis.facts.kubernetes import Deployment, Event, Kubernetes, Pod
from airflowaks.diagnosis.facts.snapshot import Reading, Snapshot
from airflowaks.diagnosis.finding import Finding, Severity
from airflowaks.diagnosis.readers.pods import pods
from airflowaks.diagnosis.readers.scope import Scope
from airflowaks.notebook.history import history
from airflowaks.notebook.timeline import Bar, Timeline

SVG = "http://www.w3.org/2000/svg"
SCOPE = Scope(datetime.now(UTC) - timedelta(hours=1), "airflow")


def ago(minutes: float) -> str:
    """A time as the API writes it."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(
    *, ready: bool = False, created: float = 60, phase: str = "Running", owner: str = "", **status: Any
) -> dict[str, Any]:
    """A pod of the worker; `created` in minutes ago, `status` is its container's."""
    owners = [{"kind": owner, "name": f"a-{owner.lower()}"}] if owner else []
    return {
        "metadata": {
            "name": "worker-1",
            "creationTimestamp": ago(created),
            "labels": {"app.kubernetes.io/component": "worker"},
            "ownerReferences": owners,
        },
        "spec": {"serviceAccountName": "airflow-dags"},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "worker", "ready": ready, "restartCount": 0, "state": {}, **status}],
        },
    }


RUNNING: dict[str, Any] = {"state": {"running": {}}}
CREATING: dict[str, Any] = {"state": {"waiting": {"reason": "ContainerCreating"}}}
PULLING: dict[str, Any] = {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}


@pytest.mark.parametrize(
    ("about", "warnings", "healthy", "settling"),
    [
        pytest.param({"ready": True, **RUNNING}, [], True, 0, id="ready"),
        pytest.param({"created": 1, **CREATING}, [], True, 1, id="young and quiet"),
        pytest.param({"created": 1, **RUNNING}, ["Unhealthy"], True, 1, id="young and not yet probed well"),
        pytest.param({"created": 1, **CREATING}, ["FailedMount"], False, 0, id="young with a warning"),
        pytest.param({"created": 1, **PULLING}, [], False, 0, id="young without an image"),
        pytest.param({"created": 10, **CREATING}, [], False, 0, id="no longer young"),
        pytest.param({"phase": "Failed", "owner": "Job"}, [], True, 0, id="a try of a job that is complete"),
        pytest.param({"phase": "Failed", "owner": "ReplicaSet"}, [], True, 0, id="replaced by another"),
        pytest.param({"phase": "Failed"}, [], False, 0, id="failed for good"),
    ],
)
def test_which_pods_are_ill(about: dict[str, Any], warnings: list[str], healthy: bool, settling: int) -> None:  # noqa: FBT001 - as the cases name it
    found = pods([pod(**about)], SCOPE, {"worker-1": warnings}, {"a-job"})
    assert (found.pods["worker-1"].healthy, found.settling.get("worker", 0)) == (healthy, settling)


def test_a_pod_that_is_about_to_end_is_none() -> None:
    document = pod(**RUNNING)
    document["metadata"]["deletionTimestamp"] = ago(0)
    assert not pods([document], SCOPE, {}, ()).pods


@pytest.mark.parametrize(("minutes", "ended"), [(30, "OOMKilled"), (90, "")])
def test_how_a_container_ended_counts_for_as_long_as_is_looked_back(minutes: int, ended: str) -> None:
    before = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": ago(minutes)}}
    document = pod(ready=True, restartCount=1, lastState=before, **RUNNING)
    assert pods([document], SCOPE, {}, ()).pods["worker-1"].containers["worker"].ended == ended


def test_history_has_points_for_events_and_bars_for_what_lasts_with_their_findings() -> None:
    events = (
        Event("2026-11-22T10:00:00Z", "Deployment", "airflow-worker", "ScalingReplicaSet", "up", warning=False),
        Event("2026-11-22T10:01:00Z", "Pod", "worker-1", "BackOff", "again"),
        Event("2026-11-22T10:03:00Z", "Pod", "worker-1", "BackOff", "again", count=4),
    )
    worker = Pod("worker", healthy=False, turned="2026-11-22T10:02:00Z")
    known = Kubernetes(pods={"worker-1": worker}, events=events)
    facts = Snapshot(kubernetes=known, readings={"kubernetes.pods": Reading("2026-11-22T10:04:00Z")})
    evidence = "event of Pod worker-1: BackOff: again"
    findings = [
        Finding("AKA-901", Severity.CRITICAL, "It exits.", "Mend it.", evidence=(evidence,)),
        Finding("AKA-903", Severity.WARNING, "Too few.", "Wait.", components=frozenset({"worker"})),
    ]
    timeline = history(facts, findings)
    assert str(timeline).splitlines()[1:] == [
        "  airflow-worker: ScalingReplicaSet: at 0 s, 1 time",
        "  worker: BackOff: 60 s to 180 s, 5 times, AKA-901",
        "  worker: not ready: 120 s to 240 s, lasts, AKA-903",
    ]
    drawn = ET.fromstring(timeline.svg())  # noqa: S314 - our own text
    assert len(list(drawn.iter(f"{{{SVG}}}circle"))) == 3
    assert [one.text for one in drawn.iter(f"{{{SVG}}}a")] == ["AKA-901", "AKA-903"]
    assert str(history(Snapshot())) == "Nothing happened."


def test_a_day_of_five_thousand_events_is_summed_up() -> None:
    """The reader keeps the last fifty of each reason, and counts the others."""
    events = tuple(
        Event(f"2026-11-22T{hour:02}:{minute:02}:00Z", "Pod", f"pod-{kind}", "BackOff", "again", count=3)
        for hour in range(24)
        for minute in (0, 1)
        for kind in range(40)
    )
    timeline = history(Snapshot(kubernetes=Kubernetes(events=events, dropped=20)))
    assert len(timeline.bars) == 25
    assert str(timeline).splitlines()[0].endswith(": 5,780 events of 40 kinds, the 25 latest kinds")
    assert 25 * 24 <= timeline.svg().count("<circle") < 25 * 48
    assert len(timeline.svg()) < 60_000


def test_a_components_roll_out_and_its_pods_go_by_one_name() -> None:
    known = Kubernetes(
        deployments={"airflow-worker": Deployment("worker")},
        pods={"airflow-worker-1": Pod("worker")},
        events=(
            Event("2026-11-22T10:00:00Z", "Deployment", "airflow-worker", "ScalingReplicaSet", "up", warning=False),
            Event("2026-11-22T10:01:00Z", "Pod", "airflow-worker-1", "BackOff", "again"),
        ),
    )
    names = [bar.name for bar in history(Snapshot(kubernetes=known)).bars]
    assert names == ["worker: ScalingReplicaSet", "worker: BackOff"]


@pytest.mark.parametrize("length", [1, 30, 48, 200])
def test_a_picture_has_room_for_its_labels(length: int) -> None:
    drawn = Timeline("What happened", [Bar("w" * length, 0, 60, well=True)]).svg()
    picture = ET.fromstring(drawn)  # noqa: S314 - our own text
    (label,) = (one for one in picture.iter(f"{{{SVG}}}text") if one.get("text-anchor") == "end")
    assert label.text
    assert len(label.text) == min(length, 48)
    assert int(label.get("x", 0)) >= 7 * len(label.text)
