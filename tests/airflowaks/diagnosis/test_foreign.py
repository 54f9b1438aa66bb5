"""What somebody else made or added is shown with who and when, and removed once that may write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis import foreign
from airflowaks.kube.client import Reference

if TYPE_CHECKING:
    from airflowaks.engine.changes import Changes
    from airflowaks.session import Mode
    from tests.support.world import World

LABELS = "app.kubernetes.io/name: airflow, app.kubernetes.io/component: triggerer"
TRIGGERER = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: airflow-triggerer, namespace: "${{NAMESPACE}}", labels: {{{LABELS}}}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{{LABELS}}}}}
  template:
    metadata: {{labels: {{{LABELS}}}}}
    spec: {{containers: [{{name: triggerer, image: "docker.io/library/python:3.13"}}]}}
"""
STRATEGIC = "application/strategic-merge-patch+json"


def test_what_somebody_added_is_shown_before_it_is_removed_and_its_values_never(world: World) -> None:
    *_, triggerer = world.apply(TRIGGERER)
    env = [{"name": "A", "value": "hunter2"}, {"name": "B", "value": "2"}]
    container = {"name": "triggerer", "image": "docker.io/library/python:none-such", "env": env}
    pod = {"nodeSelector": {"kubernetes.io/os": "linux"}, "containers": [container]}
    path, manager = world.kube.path(triggerer.reference), {"fieldManager": "kubectl-edit"}
    world.kube.request("PATCH", path, manager, {"spec": {"template": {"spec": pod}}}, STRATEGIC)

    def remove(mode: Mode = "apply") -> Changes:
        (resource,) = world.objects(world.session(mode))
        return foreign.remove_additions(resource.session, resource)

    (planned,) = remove("plan")
    paths = [one.path.removeprefix("spec.template.spec.") for one in planned.differences]
    assert sorted(paths) == ["containers[triggerer].env[A][B]", "nodeSelector"]
    assert "kubectl-edit at 20" in str(planned.differences[0])
    assert "hunter2" not in str(planned.record())
    (removed,) = remove()
    assert (planned.applied, removed.applied) == (False, True)
    spec = (world.kube.get(triggerer.reference) or {})["spec"]["template"]["spec"]
    assert "nodeSelector" not in spec
    assert "env" not in spec["containers"][0]
    assert spec["containers"][0]["image"].endswith(":none-such"), "a changed value is drift, and stays"
    for seconds in (60, 30):  # back to the server's own value, which cannot be removed
        pod = {"terminationGracePeriodSeconds": seconds}
        world.kube.request("PATCH", path, manager, {"spec": {"template": {"spec": pod}}}, STRATEGIC)
    assert not remove()


def test_what_somebody_made_is_shown_before_it_is_deleted(world: World) -> None:
    policy = ("networking.k8s.io/v1", "NetworkPolicy", "deny-all", world.namespace)
    metadata = {"name": "deny-all", "namespace": world.namespace}
    document = {"apiVersion": policy[0], "kind": policy[1], "metadata": metadata, "spec": {"podSelector": {}}}
    world.kube.request("POST", world.kube.path(Reference(*policy)._replace(name="")), {"fieldManager": "me"}, document)
    shown = str(foreign.delete_object(world.session("plan"), *policy))
    assert "made: by me at 20" in shown
    assert "spec: {" in shown
    assert world.kube.get(Reference(*policy)) is not None
    assert foreign.delete_object(world.session(), *policy)[0].applied
    assert world.kube.get(Reference(*policy)) is None
    assert not foreign.delete_object(world.session(), *policy)
