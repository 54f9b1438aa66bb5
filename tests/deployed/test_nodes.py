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
from airflowaks.steps import airflow as airflow_step
from airflowaks.steps import cluster as cluster_step
from tests.support.deployed import NAMESPACE, until
from tests.support.drills.drill import Scene, look
from tests.support.hardened import hardened
from tests.support.kubectl import NEEDS_KUBECTL, newest
from tests.support.rehearsal import run_rehearsal
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.kube.client import Document
    from tests.support.deployed import Deployed

pytestmark = pytest.mark.drill

AT_WORK, RETRIED, ON_SPOT, TASKS = "at_work", "retried", "on_spot", 4
REPLICATED = ("api_server", "scheduler", "dag_processor", "triggerer")
RUN_SECONDS = 300.0
QUEUE, SPOT = "batch", "spot"
"""As the DAG on_spot has it: the queue whose workers run on the spot pool, and the pool's name."""
PRIORITY = "kubernetes.azure.com/scalesetpriority"
SPOT_TAINT = {"key": PRIORITY, "value": "spot", "effect": "NoSchedule"}
MOVING = ("AKA-003", "AKA-005", "AKA-902", "AKA-903", "AKA-904")
"""What is found of a component that has one replica, or of a worker, while it moves to another node."""
LOST = ("AKA-801", "AKA-806", "AKA-922")
"""What is found when a machine is gone: its pods wait for another, and its tasks until the scheduler misses them."""
UNREACHED = (AzureError, AirflowAksError, OSError)
"""While the api-server moves with its node."""
JSON_MERGE = "application/merge-patch+json"
HEARD_LONG_AGO = (
    "UPDATE task_instance SET last_heartbeat_at = last_heartbeat_at - interval '6 minutes' "
    "WHERE state = 'running' AND hostname NOT IN ('{left}')"
)


@pytest.fixture(scope="module")
def scene(airflow: Deployed) -> Scene:
    """All is well; nothing of tests before these is left."""
    scene = Scene(airflow.cloud)
    scene.forget_failures()
    scene.push_dags()
    return scene


@pytest.fixture(scope="module")
def doubled(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two of each component and a queue on spot machines, as prod may have them; afterwards one of each, as before."""
    folder = tmp_path_factory.mktemp("doubled")
    described = (REPOSITORY / "manifests/environments/local.yaml").read_text()
    components = "".join(f"\n  {name}: {{replicas: 2}}" for name in REPLICATED)
    (folder / "manifests" / "environments").mkdir(parents=True)
    (folder / "manifests/environments/local.yaml").write_text(
        described.replace("\nairflow:", f"\nairflow:{components}\n  queues:\n    {QUEUE}: {{spot: true, max_count: 2}}")
        + f"\ncluster:\n  spot_pool: {{name: {SPOT}, max_count: 2}}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with closing(open_session("local")) as session:
            assert session.environment.airflow.api_server.replicas == 2
            cluster_step.everything(session)
            airflow_step.everything(session)
        until(lambda: not spot_nodes(scene))  # a new Deployment has one replica, until KEDA sees the empty queue
        yield scene
    with closing(open_session("local")) as session:
        airflow_step.everything(session)
        settings = session.environment
        session.clusters.agent_pools.begin_delete(settings.resource_group, settings.cluster.name, SPOT).result()


@pytest.fixture
def somebodys(scene: Scene) -> Iterator[Document]:
    """A Deployment that takes more than half of five nodes; deleted afterwards."""
    container: Document = {"name": "main", "image": "docker.io/library/busybox", "command": ["sleep", "3600"]}
    container["resources"] = {"requests": {"cpu": "2500m"}, "limits": {"memory": "64Mi"}}
    labels = {"app": "somebodys"}
    template = {
        "metadata": {"labels": labels},
        "spec": hardened(containers=[container], terminationGracePeriodSeconds=1),
    }
    document: Document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "somebodys", "namespace": NAMESPACE},
        "spec": {"replicas": 5, "selector": {"matchLabels": labels}, "template": template},
    }
    yield document
    scene.kube.delete(Reference.of(document))


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


def workers(scene: Scene) -> list[Document]:
    """The workers of all queues, those that are about to end too."""
    labels = f"app.kubernetes.io/component in (worker, worker-{QUEUE})"
    return list(scene.kube.each("v1", "Pod", NAMESPACE, labels=labels))


def addresses(scene: Scene) -> dict[str, str]:
    """The nodes of the workers by the workers' addresses, which Airflow knows them by."""
    pods = [pod for pod in workers(scene) if "deletionTimestamp" not in pod["metadata"]]
    return {pod["status"]["podIP"]: pod["spec"]["nodeName"] for pod in pods if pod.get("status", {}).get("podIP")}


def running(scene: Scene, run: str, dag: str) -> dict[int, str]:
    """The nodes on which tasks of a run are at work, by the tasks' numbers."""
    where, listed = addresses(scene), instances(scene, run, dag)
    at_work = [each for each in listed if each["state"] == "running" and each["hostname"] in where]
    return {each["map_index"]: where[each["hostname"]] for each in at_work}


def busy(scene: Scene, dag: str = AT_WORK) -> tuple[str, str]:
    """Start a run; return it, and the node of a worker, once two of its tasks run."""
    run = retry_on(lambda: scene.run_dag(dag), lambda error: isinstance(error, UNREACHED), RUN_SECONDS)
    where = wait_until(lambda: running(scene, run, dag), lambda tasks: len(tasks) > 1, RUN_SECONDS, longest_pause=1)
    return run, next(iter(where.values()))


def await_end(scene: Scene, run: str, dag: str = AT_WORK) -> list[dict[str, Any]]:
    """The task instances of a run, once none of them is left to do."""

    def ended(listed: list[dict[str, Any]]) -> bool:
        return {each["state"] for each in listed} <= {"success", "failed"}

    return wait_until(lambda: instances(scene, run, dag), ended, RUN_SECONDS, longest_pause=1)


def all_went_well(listed: list[dict[str, Any]]) -> bool:
    """Whether each task succeeded at its first attempt."""
    return [(each["state"], each["try_number"]) for each in listed] == [("success", 1)] * TASKS


def nodes(scene: Scene) -> dict[str, str]:
    """The UIDs of the regular nodes by name."""
    regular = scene.kube.each("v1", "Node", labels=f"{PRIORITY}!={SPOT}")
    return {node["metadata"]["name"]: node["metadata"]["uid"] for node in regular}


def spot_nodes(scene: Scene) -> list[Document]:
    """The nodes of the spot pool."""
    return list(scene.kube.each("v1", "Node", labels=f"{PRIORITY}={SPOT}"))


def on(scene: Scene, node: str) -> list[str]:
    """The workers on a node, those that are about to end too."""
    return [pod["metadata"]["name"] for pod in workers(scene) if pod["spec"].get("nodeName") == node]


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
            over.wait(5)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield titles
    finally:
        over.set()
        thread.join()


def interrupting(titles: list[str]) -> list[str]:
    """The findings of an API that does not answer and of failed tasks: of two replicas one always answers."""
    return [title for title in titles if title.startswith(("AKA-003", "AKA-92"))]


def beyond(titles: list[str], *allowed: str) -> list[str]:
    """The findings of other rules than those that are allowed."""
    return [title for title in titles if not title.startswith(allowed)]


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
    assert not beyond(titles, *MOVING)
    subprocess.run([newest(), "uncordon", node], env=shell, check=True, capture_output=True)
    assert all_went_well(await_end(scene, run))
    rests()


def test_an_upgrade_of_the_pool_waits_for_the_tasks_on_each_node(doubled: Scene) -> None:
    scene = doubled
    before, (run, _) = nodes(scene), busy(scene)
    settings = scene.session.environment
    place = (settings.resource_group, settings.cluster.name, settings.cluster.node_pool.name)
    with watched() as titles:
        scene.session.clusters.agent_pools.begin_upgrade_node_image_version(*place).result()
    assert not interrupting(titles)
    after = nodes(scene)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert all_went_well(await_end(scene, run))
    rests()


def test_the_autoscaler_removes_an_empty_node_and_none_with_a_worker(doubled: Scene, somebodys: Document) -> None:
    """Somebody's pods bring three nodes, and the workers move to them; then somebody's pods go, and tasks run."""
    scene = doubled
    before = nodes(scene)
    scene.kube.apply(somebodys)
    until(lambda: len(nodes(scene)) == len(before) + 3)
    added = nodes(scene).keys() - before.keys()
    old = scene.pods("worker")
    for node in before:
        scene.patch(Reference("v1", "Node", node), {"spec": {"unschedulable": True}}, JSON_MERGE)
    scene.replace("worker")
    scene.await_rolled("worker", old)
    for node in nodes(scene).keys() & before:  # the autoscaler has removed one that was left empty
        scene.patch(Reference("v1", "Node", node), {"spec": {"unschedulable": None}}, JSON_MERGE)
    run, _ = busy(scene)
    kept = {node for node in added if on(scene, node)}
    assert kept
    scene.kube.delete(Reference.of(somebodys))
    with watched() as titles:
        until(lambda: len(nodes(scene)) == max(len(kept), len(before)))  # the pool has no fewer than before
        assert all_went_well(await_end(scene, run))
        assert kept <= nodes(scene).keys()
    assert not interrupting(titles)
    rests()


def test_tasks_on_a_machine_that_azure_takes_back_are_retried(doubled: Scene) -> None:
    """Of the regular pool. The scheduler misses a task five minutes after its last heartbeat, here at once."""
    scene = doubled
    run, node = busy(scene, RETRIED)
    lost = {number for number, its in running(scene, run, RETRIED).items() if its == node}
    left = [address for address, its in addresses(scene).items() if its != node]
    scene.break_down("preempt", name=node)
    with watched() as titles:
        until(lambda: node not in nodes(scene))
        scene.serve()
        until(lambda: len(scene.pods("worker")) and not on(scene, node))
        scene.as_airflow(HEARD_LONG_AGO.format(left="', '".join(left)))
        listed = await_end(scene, run, RETRIED)
    assert not beyond(titles, *MOVING, *LOST)
    assert {each["state"] for each in listed} == {"success"}
    assert lost
    assert {each["map_index"] for each in listed if each["try_number"] > 1} == lost
    rests()


def test_tasks_on_a_spot_machine_are_retried_on_another(doubled: Scene) -> None:
    """KEDA brings the queue's first worker, and the autoscaler the pool's first machine: no other takes the worker."""
    scene = doubled
    assert not spot_nodes(scene)
    assert not scene.pods(f"worker-{QUEUE}")
    run, node = busy(scene, ON_SPOT)
    (spot,) = spot_nodes(scene)
    assert spot["metadata"]["name"] == node
    assert SPOT_TAINT in spot["spec"]["taints"]
    lost = running(scene, run, ON_SPOT).keys()
    left = [address for address, its in addresses(scene).items() if its != node]
    scene.break_down("preempt", name=node)
    with watched() as titles:
        until(lambda: spot["metadata"]["uid"] not in [each["metadata"]["uid"] for each in spot_nodes(scene)])
        scene.serve()
        until(lambda: scene.pods(f"worker-{QUEUE}"))
        scene.as_airflow(HEARD_LONG_AGO.format(left="', '".join(left)))
        listed = await_end(scene, run, ON_SPOT)
        at_last = addresses(scene)
    assert not beyond(titles, *MOVING, *LOST)
    assert lost
    assert {each["state"] for each in listed} == {"success"}
    assert {each["map_index"] for each in listed if each["try_number"] > 1} == lost
    (added,) = spot_nodes(scene)
    assert added["metadata"]["uid"] != spot["metadata"]["uid"]
    assert {at_last[each["hostname"]] for each in listed} == {added["metadata"]["name"]}
    rests()
