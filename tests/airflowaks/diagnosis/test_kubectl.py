"""What one looks at and does by hand, on a small Deployment: each command shows what the cluster says, as a table."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from airflowaks.diagnosis import kubectl
from airflowaks.engine.changes import Action
from airflowaks.engine.results import Results
from airflowaks.errors import InvalidParameter, KubernetesError
from airflowaks.kube.client import Reference
from airflowaks.kube.rollouts import await_ready
from airflowaks.kube.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.engine.table import Table
    from airflowaks.kube.objects import KubeObject
    from tests.support.world import World

LABELS = "app.kubernetes.io/name: airflow, app.kubernetes.io/component: triggerer"
IMAGE = "docker.io/library/python:3.13"
TRIGGERER = f"""
apiVersion: v1
kind: Service
metadata: {{name: airflow-triggerer, namespace: "${{NAMESPACE}}", labels: {{{LABELS}}}}}
spec: {{selector: {{{LABELS}}}, ports: [{{port: 8794}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: airflow-triggerer, namespace: "${{NAMESPACE}}", labels: {{{LABELS}}}}}
spec:
  selector: {{matchLabels: {{{LABELS}}}}}
  template:
    metadata: {{labels: {{{LABELS}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {{name: triggerer, image: "{IMAGE}", command: [python, -u, -c, "${{SCRIPT}}"]}}
        - name: beside
          image: "{IMAGE}"
          command: [python, -u, -c, "print('beside it'); import time; time.sleep(600)"]
"""
MERGE = "application/merge-patch+json"
COUNT = "import itertools, time; [(print('tick', n), time.sleep(0.1)) for n in itertools.count()]"
BAD_COMPONENT = 'The component "scheduler" has 0 Deployments, not 1'


@pytest.fixture
def triggerer(world: World) -> KubeObject:
    """A Deployment that says something, and a Service."""
    *_, deployment = world.apply(TRIGGERER, SCRIPT=COUNT)
    return deployment


def test_each_command_shows_what_the_cluster_says(world: World, triggerer: KubeObject) -> None:
    session, namespace = world.session("plan"), world.namespace
    image = triggerer.manifest.fill()["spec"]["template"]["spec"]["containers"][0]["image"]
    ((name, ready, _, _, shown),) = kubectl.deployments(session, namespace).rows
    assert (name, ready, shown) == ("airflow-triggerer", "1 of 1", image)
    ((pod, ready, state, restarts, *_),) = kubectl.pods(session, namespace, "triggerer").rows
    assert (ready, state, restarts) == ("yes", "Running", "0")
    ((name, kind, address, ports, _),) = kubectl.services(session, namespace).rows
    assert (name, kind, address[:3], ports) == ("airflow-triggerer", "ClusterIP", "10.", "8794/TCP")
    assert "Scheduled" in [row[2] for row in kubectl.events(session, namespace, warnings=False).rows]
    assert "Started" in str(kubectl.describe(session, "Pod", pod, namespace))
    described = kubectl.describe(session, "Deployment", "airflow-triggerer", namespace)._repr_mimebundle_()
    assert "maxSurge: 25%" in described["text/plain"]
    assert "```yaml\nmetadata:" in described["text/markdown"]
    assert kubectl.execute(session, "triggerer", "python -c 'print(6 * 7)'", namespace).rows == [("1", "42")]
    assert "tick 0" in str(kubectl.logs(session, "triggerer", namespace))
    assert "beside it" in str(kubectl.logs(session, "", namespace, pod=pod, container="beside"))
    assert not session.memoize(Results).changes


@pytest.mark.parametrize(
    ("ask", "note"),
    [
        (lambda session: kubectl.logs(session, "triggerer", pod="nobody"), "The pod nobody does not exist"),
        (lambda session: kubectl.logs(session, "nobody"), 'The component "nobody" has no pod'),
        (lambda session: kubectl.describe(session, "Job", "nothing"), "Job nothing does not exist"),
        (lambda session: kubectl.execute(session, "triggerer", ""), "No command was run"),
    ],
)
def test_what_cannot_be_had_says_why(world: World, ask: Callable[..., Table], note: str) -> None:
    assert note in ask(world.session("plan")).note


def test_pods_that_are_not_well_come_first(world: World, triggerer: KubeObject) -> None:
    waiting = triggerer.manifest.fill()["spec"]["template"]
    metadata = {"name": "z-waits", "namespace": world.namespace, "labels": waiting["metadata"]["labels"]}
    spec = waiting["spec"] | {"schedulerName": "nobody"}
    world.kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    states = [row[1] for row in kubectl.pods(world.session("plan"), world.namespace).rows]
    assert states == ["no", "yes"]


def test_restarting_rolls_and_deleting_ends_what_runs_once_it_may_write(world: World, triggerer: KubeObject) -> None:
    namespace = world.namespace

    def running() -> set[str]:
        return {one["metadata"]["name"] for one in world.kube.each("v1", "Pod", namespace)}

    before = running()
    for act, action in ((kubectl.restart, Action.UPDATE), (kubectl.delete, Action.DELETE)):
        planned = act(world.session("plan"), "triggerer", namespace)
        assert [(one.action, one.applied) for one in planned] == [(action, False)]
    assert running() == before

    session = world.session()
    world.kube.request("PATCH", world.kube.path(triggerer.reference), {}, {"spec": {"paused": True}}, MERGE)
    assert [one.applied for one in kubectl.resume(session, namespace)] == [True]
    assert not kubectl.resume(session, namespace)
    assert kubectl.restart(session, "triggerer", namespace)[0].applied
    await_ready(triggerer.kube, triggerer.reference)
    assert not running() & before
    assert kubectl.delete(session, "triggerer", namespace)[0].applied
    assert world.kube.get(triggerer.reference) is None
    actions = [one.action for one in session.memoize(Results).changes]
    assert actions == [Action.UPDATE, Action.UPDATE, Action.DELETE]
    with pytest.raises(InvalidParameter, match=BAD_COMPONENT):
        kubectl.restart(session, "scheduler", namespace)


def test_the_restart_of_named_pods_is_none_the_second_time(world: World, triggerer: KubeObject) -> None:
    session, namespace = world.session(), world.namespace
    ((name, *_),) = kubectl.pods(session, namespace, "triggerer").rows
    again = [kubectl.restart(session, "triggerer", namespace, [name]) for _ in range(2)]
    assert list(map(len, again)) == [1, 0], "while its pod may still run"
    await_ready(triggerer.kube, triggerer.reference)
    assert not kubectl.restart(session, "triggerer", namespace, [name])
    newer = [row[0] for row in kubectl.pods(session, namespace, "triggerer").rows if row[0] != name]
    assert kubectl.restart(session, "triggerer", namespace, newer), "it hangs again"


def test_a_tail_goes_on_where_it_was_and_beyond_a_restart(world: World) -> None:
    counts = COUNT.replace("itertools.count()", "range(5)")
    container = {"name": "main", "image": IMAGE, "command": ["python", "-u", "-c", counts]}
    metadata = {"name": "again", "namespace": world.namespace}
    world.kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
    tail = Tail(world.kube, Reference("v1", "Pod", "again", world.namespace), "main", lines=100)
    seen: list[str] = []
    deadline = time.monotonic() + 60
    while seen.count("tick 0") < 3 and time.monotonic() < deadline:
        with suppress(KubernetesError):  # it has not begun, or not again
            seen += tail.read()
        time.sleep(0.02)
    runs = " ".join(seen).split("tick 0")[1:]
    assert len(runs) == 3
    assert all(" tick 1 tick 2 tick 3 tick 4 ".startswith(one.rstrip()) for one in runs)
    assert "tick 3" in runs[0]
