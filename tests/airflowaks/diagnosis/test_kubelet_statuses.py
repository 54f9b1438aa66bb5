"""Every rule over what real components said: the statuses and events of pods on a Kubernetes 1.36.2, case by case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflowaks.diagnosis.facts.kubernetes import Deployment, Event, Job
from airflowaks.diagnosis.readers.pods import pods
from airflowaks.diagnosis.readers.scope import Scope
from airflowaks.diagnosis.rules.registry import evaluate
from tests.support.rule_cases import FOLDER, facts_of

if TYPE_CHECKING:
    from airflowaks.diagnosis.facts.snapshot import Snapshot

CASES: dict[str, Any] = yaml.safe_load((FOLDER / "kubelet_statuses.yaml").read_text(encoding="utf-8"))
NAME = "airflow-worker-66cbcc6d99-hsqct"
LONG_AGO = "2026-11-22T09:00:00Z"
SCOPE = Scope(datetime(2026, 11, 22, 9, 0, tzinfo=UTC), "airflow", "")


def pod_of(case: dict[str, Any], *, job: bool) -> dict[str, Any]:
    """The pod as the API answers it."""
    statuses = [
        {"ready": "running" in one["state"] and "conditions" not in case, **one} for one in case.get("containers", ())
    ]
    conditions = case.get("conditions", [{"type": "Ready", "status": "True"}])
    owner = {"kind": "Job", "name": "airflow-migration"} if job else {"kind": "ReplicaSet", "name": NAME[:-6]}
    return {
        "metadata": {
            "name": NAME,
            "labels": {"app.kubernetes.io/component": "migration" if job else "worker"},
            "creationTimestamp": LONG_AGO,
            "ownerReferences": [owner],
        },
        "spec": {"serviceAccountName": "airflow-dags", "nodeName": "node-1"},
        "status": {
            **{key: case[key] for key in ("phase", "reason", "message") if key in case},
            "conditions": conditions,
            "containerStatuses": statuses,
        },
    }


def snapshot_of(name: str, case: dict[str, Any]) -> Snapshot:
    """The facts of a deployment that is well but for the case's pod, as the readers take them from the API."""
    job, facts = name.startswith("job"), facts_of({})
    events = tuple(
        Event(LONG_AGO, one.get("kind", "Pod"), NAME, one["reason"], one["message"]) for one in case.get("events", ())
    )
    warned: Any = {NAME: [event.reason for event in events]}
    read = pods([pod_of(case, job=job)], SCOPE, warned, ()).pods if "phase" in case else {}
    ready = all(pod.healthy and pod.phase == "Running" for pod in read.values()) and bool(read)
    kubernetes = facts.kubernetes
    others = {key: pod for key, pod in kubernetes.pods.items() if pod.component != "worker"}
    # A ReplicaSet's condition, which its Deployment repeats, has the error of the event "Error creating: …"
    # (manageReplicas and calculateStatus in pkg/controller/replicaset).
    refused = [
        f"{event.reason}: {event.message.removeprefix('Error creating: ')}"
        for event in events
        if event.kind == "ReplicaSet"
    ]
    available = int(ready or job or case["finds"] == "AKA-813")
    worker = Deployment("worker", available=available, refused=next(iter(refused), ""))
    failed = "BackoffLimitExceeded: Job has reached the specified backoff limit"
    jobs = {"airflow-migration": Job("migration", complete=False, failed=failed)} if name == "jobfail" else {}
    return replace(
        facts,
        kubernetes=replace(
            kubernetes,
            pods={**others, **read},
            events=events,
            deployments={**kubernetes.deployments, "airflow-worker": worker},
            jobs={**kubernetes.jobs, **jobs},
        ),
    )


@pytest.mark.parametrize("name", CASES)
def test_the_right_cause_comes_first(name: str) -> None:
    case = CASES[name]
    findings = evaluate(snapshot_of(name, case))
    first = next(iter(findings), None)
    assert (first.id if first else "") == case["finds"], [str(one) for one in findings]
    assert case.get("says", "") in (first.cause if first else "")
