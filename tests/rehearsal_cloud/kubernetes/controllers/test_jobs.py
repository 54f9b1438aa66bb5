"""Jobs: run to completion, retried, limited and suspended, on the rehearsal's cluster and on a real control plane."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.workspace import Document, Workspace, template


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


def run(space: Workspace, restart: str = "Never", **spec: Any) -> Document:
    pod = template("work", restartPolicy=restart)
    return space.create("Job", "work", spec={"template": pod, **spec})


def job(space: Workspace) -> Document:
    return space.get("Job", "work")


def condition(document: Document, kind: str) -> Document:
    found = [one for one in document.get("status", {}).get("conditions") or () if one["type"] == kind]
    return found[0] if found else {}


def pods(space: Workspace, count: int) -> list[Document]:
    """Return the job's pods once there are so many."""
    found: list[Document] = space.eventually(lambda: one if len(one := space.pods(app="work")) == count else None)
    return found


def ended(space: Workspace, how: str) -> Document:
    found: Document = space.eventually(
        lambda: one if condition(one := job(space), how).get("status") == "True" else None
    )
    return found


def test_a_job_completes_with_its_pod(space: Workspace) -> None:
    made = run(space)
    (pod,) = pods(space, 1)
    assert pod["metadata"]["generateName"] == "work-"
    assert pod["metadata"]["labels"]["job-name"] == "work"
    assert pod["metadata"]["labels"]["controller-uid"] == made["metadata"]["uid"]
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Job", "work", True)
    space.eventually(lambda: job(space)["status"].get("active") == 1)
    space.say(pod, "Succeeded")
    status = ended(space, "Complete")["status"]
    assert status["succeeded"] == 1
    assert not status.get("active")
    assert status["completionTime"] >= status["startTime"]
    assert len(space.pods(app="work")) == 1


@pytest.mark.parametrize("api_server", ["rehearsal"], indirect=True)
def test_a_job_counts_its_ready_and_terminating_pods(space: Workspace) -> None:
    """Measured with 1.36: Job `status.ready`, `status.terminating`; 1.20 has neither."""
    run(space)
    (pod,) = pods(space, 1)
    counts = {"active": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}
    space.eventually(lambda: counts.items() <= job(space)["status"].items())
    space.say(pod, "Running", ready=True)
    space.eventually(lambda: job(space)["status"]["ready"] == 1)


def test_a_job_runs_as_many_pods_at_once_as_it_may_and_as_many_as_it_must(space: Workspace) -> None:
    run(space, parallelism=2, completions=3)
    first, second = pods(space, 2)
    space.say(first, "Succeeded")
    pods(space, 3)
    space.say(second, "Succeeded")
    space.eventually(lambda: job(space)["status"].get("succeeded") == 2)
    space.steadily(lambda: len(space.pods(app="work")) == 3)
    for pod in space.pods(app="work"):
        space.say(pod, "Succeeded")
    assert ended(space, "Complete")["status"]["succeeded"] == 3


def test_a_work_queue_is_done_when_one_succeeded_and_none_runs(space: Workspace) -> None:
    run(space, parallelism=2, completions=None)
    first, second = pods(space, 2)
    space.say(first, "Succeeded")
    space.steadily(lambda: not condition(job(space), "Complete"))
    space.say(second, "Succeeded")
    assert ended(space, "Complete")["status"]["succeeded"] == 2


def test_a_job_fails_when_its_pods_fail_too_often(space: Workspace) -> None:
    run(space, backoffLimit=0)
    (pod,) = pods(space, 1)
    space.say(pod, "Failed")
    failed = ended(space, "Failed")
    found = condition(failed, "Failed")
    assert (found["reason"], found["message"]) == (
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    )
    assert failed["status"]["failed"] == 1
    assert "completionTime" not in failed["status"]


def test_a_pod_that_failed_is_replaced_and_stays_to_be_looked_at(space: Workspace) -> None:
    run(space, backoffLimit=2)
    (pod,) = pods(space, 1)
    space.say(pod, "Failed")
    found = space.eventually(lambda: one if len(one := space.pods(app="work")) == 2 else None, 60)
    assert {one["status"]["phase"] for one in found} == {"Failed", "Pending"}
    assert not condition(job(space), "Failed")


def test_a_job_fails_when_it_is_active_for_too_long(space: Workspace) -> None:
    run(space, activeDeadlineSeconds=3)
    pods(space, 1)
    found = condition(ended(space, "Failed"), "Failed")
    assert (found["reason"], found["message"]) == (
        "DeadlineExceeded",
        "Job was active longer than specified deadline",
    )
    space.eventually(lambda: not [one for one in space.pods(app="work") if one["status"]["phase"] == "Pending"])


def test_restarts_of_containers_count_as_failures(space: Workspace) -> None:
    run(space, restart="OnFailure", backoffLimit=2)
    (pod,) = pods(space, 1)
    container = {"name": "main", "restartCount": 2, "ready": False, "image": "x", "imageID": "", "state": {}}
    status = {"status": {"phase": "Running", "containerStatuses": [container]}}
    space.patch("Pod", pod["metadata"]["name"], status, "status")
    assert condition(ended(space, "Failed"), "Failed")["reason"] == "BackoffLimitExceeded"


def test_a_job_can_be_given_more_and_less_parallelism(space: Workspace) -> None:
    run(space, parallelism=1, completions=5)
    pods(space, 1)
    space.patch("Job", "work", {"spec": {"parallelism": 3}})
    pods(space, 3)
    space.patch("Job", "work", {"spec": {"parallelism": 0}})
    space.eventually(lambda: not space.pods(app="work"))
    space.steadily(lambda: not condition(job(space), "Failed"), 0.5)


def test_a_job_s_pods_go_with_it_when_that_is_asked_for(space: Workspace) -> None:
    run(space)
    pods(space, 1)
    space.delete("Job", "work", propagationPolicy="Background")
    space.eventually(lambda: not space.pods(app="work"))


def test_a_job_s_pods_stay_when_nothing_is_asked_for(space: Workspace) -> None:
    run(space)
    pods(space, 1)
    space.delete("Job", "work")
    space.eventually(lambda: space.find("Job", "work") is None)
    space.eventually(lambda: not space.pods(app="work")[0]["metadata"].get("ownerReferences"))


def test_the_template_of_a_job_names_the_job(space: Workspace) -> None:
    made = run(space)
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["job-name"] == "work"
    assert labels["controller-uid"] == made["metadata"]["uid"]
    assert made["metadata"]["uid"] in made["spec"]["selector"]["matchLabels"].values()
