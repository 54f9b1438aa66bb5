"""Nodes that go while tasks run: tasks end well or are retried, nothing is lost, and a drain waits."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import AzureError

from airflowaks.diagnosis.diagnose import diagnose
from airflowaks.engine.polling import retry_on, wait_until
from airflowaks.errors import AirflowAksError
from airflowaks.kube.client import Reference
from airflowaks.session import open_session
from tests.support.deployed import NAMESPACE, until
from tests.support.drills.drill import Scene, look
from tests.support.hardened import hardened
from tests.support.kubectl import NEEDS_KUBECTL, newest
from tests.support.rehearsal import run_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.deployed import Deployed

pytestmark = pytest.mark.drill

AT_WORK, RETRIED, TASKS = "at_work", "retried", 4
RUN_SECONDS = 300.0
UNREACHED = (AzureError, AirflowAksError, OSError)
"""While the api-server moves with its node."""
JSON_MERGE = "application/merge-patch+json"
HEARD_LONG_AGO = (
    "UPDATE task_instance SET last_heartbeat_at = last_heartbeat_at - interval '6 minutes' WHERE state = 'running'"
)


@pytest.fixture(scope="module")
def scene(airflow: Deployed) -> Scene:
    """All is well; nothing of tests before these is left."""
    scene = Scene(airflow.cloud)
    scene.forget_failures()
    scene.push_dags()
    return scene


def instances(scene: Scene, run: str, dag: str = AT_WORK) -> list[dict[str, Any]]:
    """The task instances of a run."""

    def read() -> list[dict[str, Any]]:
        try:
            with scene.api() as api:
                listed: list[dict[str, Any]] = api._send("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances")[
                    "task_instances"
                ]
        except UNREACHED:
            return []
        return listed

    return wait_until(read, bool, RUN_SECONDS, longest_pause=1)


def busy(scene: Scene, dag: str = AT_WORK) -> tuple[str, str]:
    """Start a run; return it, and the node of a worker on which two of its tasks run."""
    run = retry_on(lambda: scene.run_dag(dag), lambda error: isinstance(error, UNREACHED), RUN_SECONDS)

    def node() -> str:
        running = [each["hostname"] for each in instances(scene, run, dag) if each["state"] == "running"]
        pods = [scene.kube.get(pod) or {} for pod in scene.pods("worker")]
        nodes = {pod["status"].get("podIP"): pod["spec"]["nodeName"] for pod in pods if "status" in pod}
        return next((nodes[address] for address in running if running.count(address) > 1 and address in nodes), "")

    return run, until(node)


def await_end(scene: Scene, run: str, dag: str = AT_WORK) -> list[dict[str, Any]]:
    """The task instances of a run, once none of them is left to do."""

    def ended(listed: list[dict[str, Any]]) -> bool:
        return {each["state"] for each in listed} <= {"success", "failed"}

    return wait_until(lambda: instances(scene, run, dag), ended, RUN_SECONDS, longest_pause=1)


def all_went_well(listed: list[dict[str, Any]]) -> bool:
    """Whether each task succeeded at its first attempt."""
    return [(each["state"], each["try_number"]) for each in listed] == [("success", 1)] * TASKS


def nodes(scene: Scene) -> dict[str, str]:
    """The UIDs of the nodes by name."""
    return {node["metadata"]["name"]: node["metadata"]["uid"] for node in scene.kube.each("v1", "Node")}


def on(scene: Scene, node: str) -> list[str]:
    """The workers on a node, those that are about to end too."""
    labels = "app.kubernetes.io/component=worker"
    listed = scene.kube.each("v1", "Pod", NAMESPACE, labels=labels)
    return [pod["metadata"]["name"] for pod in listed if pod["spec"].get("nodeName") == node]


@contextmanager
def watched() -> Iterator[list[str]]:
    """What diagnoses find meanwhile: the titles of all findings, each once."""
    titles: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            with closing(open_session("local", "plan")) as session:
                findings = diagnose(session).findings
            titles.extend(f"{each.id} {each.cause}" for each in findings if f"{each.id} {each.cause}" not in titles)
            over.wait(2)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield titles
    finally:
        over.set()
        thread.join()


def rests() -> None:
    """Everything is well again."""
    left = look(lambda seen: not seen.findings, RUN_SECONDS)
    assert not left.findings, str(left)


@NEEDS_KUBECTL
def test_a_drained_node_waits_for_the_tasks_on_it(airflow: Deployed, scene: Scene) -> None:
    exported = [shlex.split(line)[1].split("=", 1) for line in run_rehearsal(airflow.cloud.home, "env").splitlines()]
    shell = {**os.environ, **dict(exported)}
    run, node = busy(scene)
    command = [newest(), "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s"]
    with watched() as titles:
        drained = subprocess.run(command, env=shell, check=False, capture_output=True, text=True, timeout=300)
    assert drained.returncode == 0, drained.stdout + drained.stderr
    assert not on(scene, node)
    print(titles)
    subprocess.run([newest(), "uncordon", node], env=shell, check=True, capture_output=True)
    assert all_went_well(await_end(scene, run))
    rests()


def test_an_upgrade_of_the_pool_waits_for_the_tasks_on_each_node(scene: Scene) -> None:
    before, (run, _) = nodes(scene), busy(scene)
    settings = scene.session.environment
    place = (settings.resource_group, settings.cluster.name, settings.cluster.node_pool.name)
    with watched() as titles:
        scene.session.clusters.agent_pools.begin_upgrade_node_image_version(*place).result()
    print(titles)
    after = nodes(scene)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert all_went_well(await_end(scene, run))
    rests()


def test_the_autoscaler_removes_an_empty_node_and_none_with_a_worker(scene: Scene) -> None:
    """Somebody's pods bring three nodes, of which two get the workers; then they go, and tasks run."""
    before = nodes(scene)
    name = Reference("apps/v1", "Deployment", "somebodys", NAMESPACE)
    container: dict[str, Any] = {"name": "main", "image": "docker.io/library/busybox", "command": ["sleep", "3600"]}
    container["resources"] = {"requests": {"cpu": "2500m"}, "limits": {"memory": "64Mi"}}
    labels = {"app": name.name}
    spec = hardened(containers=[container], terminationGracePeriodSeconds=1)
    template = {"metadata": {"labels": labels}, "spec": spec}
    body = {"replicas": 5, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name.name, "namespace": NAMESPACE}
    scene.kube.apply({"apiVersion": name.api_version, "kind": name.kind, "metadata": metadata, "spec": body})
    until(lambda: len(nodes(scene)) == len(before) + 3)
    added = nodes(scene).keys() - before.keys()
    old = scene.pods("worker")
    for node in before:
        scene.patch(Reference("v1", "Node", node), {"spec": {"unschedulable": True}}, JSON_MERGE)
    scene.replace("worker")
    scene.await_rolled("worker", old)
    for node in before:
        scene.patch(Reference("v1", "Node", node), {"spec": {"unschedulable": None}}, JSON_MERGE)
    run, _ = busy(scene)
    kept = {node for node in added if on(scene, node)}
    scene.kube.delete(name)
    with watched() as titles:
        until(lambda: not (added - kept) & nodes(scene).keys())
        assert all_went_well(await_end(scene, run))
        assert kept <= nodes(scene).keys()
    assert not titles, "what the autoscaler does is no incident"
    rests()


def test_tasks_on_a_machine_that_azure_takes_back_are_retried(scene: Scene) -> None:
    """As a spot machine goes. The scheduler misses a task five minutes after its last heartbeat, here at once."""
    run, node = busy(scene, RETRIED)
    scene.break_down("preempt", name=node)
    with watched() as titles:
        until(lambda: node not in nodes(scene))
        scene.serve()
        until(lambda: len(scene.pods("worker")) and not on(scene, node))
        scene.as_airflow(HEARD_LONG_AGO)
        listed = await_end(scene, run, RETRIED)
    print(titles)
    assert [(each["state"], each["try_number"]) for each in listed] == [("success", 2)] * 2
    rests()
