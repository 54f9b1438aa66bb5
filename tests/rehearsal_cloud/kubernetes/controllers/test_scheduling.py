"""The scheduler, claims, budgets and load balancers of the rehearsal's cluster: what no real one here could show."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.workspace import Document, Refused, Workspace, template

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.parametrize("api_server", ["rehearsal"], indirect=True)

PREEMPTION = "no new claims to deallocate, preemption: 0/1 nodes are available: 1"
"""Measured with 1.36, as the texts of taints and claims."""
NO_HELP = f"{PREEMPTION} Preemption is not helpful for scheduling."
NO_VICTIMS = f"{PREEMPTION} No preemption victims found for incoming pod."


@pytest.fixture
def space(cluster_api: Any) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


@pytest.fixture
def node(space: Workspace) -> Iterator[str]:
    """A node of one core without a kubelet."""
    name = f"node-{uuid.uuid4().hex[:6]}"
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, "pool": "work"}}
    space.call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    amounts = {"cpu": "1", "memory": "1Gi", "pods": "5"}
    change = {"status": {"allocatable": amounts, "capacity": amounts}}
    space.call("PATCH", f"/api/v1/nodes/{name}/status", change, "application/merge-patch+json")
    yield name
    space.call("DELETE", f"/api/v1/nodes/{name}")


def change_node(space: Workspace, name: str, **spec: Any) -> None:
    space.call("PATCH", f"/api/v1/nodes/{name}", {"spec": spec}, "application/merge-patch+json")


def pod(space: Workspace, name: str, cpu: str = "", **spec: Any) -> None:
    container: Document = {"name": "main", "image": "example.com/web:1"}
    if cpu:
        container["resources"] = {"requests": {"cpu": cpu}}
    made = template("web", containers=[container], **spec)
    del made["spec"]["schedulerName"]
    space.create("Pod", name, **made)


def placed(space: Workspace, name: str) -> str:
    return space.get("Pod", name)["spec"].get("nodeName", "")


def unschedulable(space: Workspace, name: str) -> str:
    """Return why the scheduler did not place the pod."""

    def look() -> str:
        conditions = space.get("Pod", name)["status"].get("conditions") or ()
        found = [one for one in conditions if one["type"] == "PodScheduled" and one["status"] == "False"]
        assert all(one["reason"] == "Unschedulable" for one in found)
        return found[0]["message"] if found else ""

    message: str = space.eventually(look)
    return message


def events(space: Workspace, reason: str, name: str) -> list[str]:
    listed = [one for one in space.list("Event") if one["involvedObject"]["name"] == name]
    return [one["message"] for one in listed if one["reason"] == reason]


def test_a_pod_is_given_a_node_that_has_room(space: Workspace, node: str) -> None:
    pod(space, "fits", "600m")
    space.eventually(lambda: placed(space, "fits") == node)
    assert events(space, "Scheduled", "fits") == [f"Successfully assigned {space.namespace}/fits to {node}"]
    pod(space, "too-big", "600m")
    assert unschedulable(space, "too-big") == f"0/1 nodes are available: 1 Insufficient cpu. {NO_VICTIMS}"
    assert events(space, "FailedScheduling", "too-big") == [unschedulable(space, "too-big")]
    space.delete("Pod", "fits", gracePeriodSeconds=0)
    space.eventually(lambda: placed(space, "too-big") == node)


def test_the_scheduler_writes_its_condition(space: Workspace, node: str) -> None:
    """Measured with 1.36: PodScheduled has `observedGeneration`, and its manager is `kube-scheduler`."""
    pod(space, "fits")
    pod(space, "too-big", "2")
    space.eventually(lambda: placed(space, "fits") == node)
    unschedulable(space, "too-big")
    for name, state in (("fits", "True"), ("too-big", "False")):
        found = space.get("Pod", name)
        condition = next(item for item in found["status"]["conditions"] if item["type"] == "PodScheduled")
        assert (condition["status"], condition["observedGeneration"]) == (state, 1)
        assert found["metadata"]["generation"] == 1
        managers = [entry["manager"] for entry in found["metadata"]["managedFields"] if entry.get("subresource")]
        assert "kube-scheduler" in managers


def test_a_node_has_room_for_so_many_pods(space: Workspace, node: str) -> None:
    for number in range(6):
        pod(space, f"pod-{number}")
    space.eventually(lambda: sum(placed(space, f"pod-{number}") == node for number in range(6)) == 5)
    last = next(number for number in range(6) if not placed(space, f"pod-{number}"))
    assert unschedulable(space, f"pod-{last}") == f"0/1 nodes are available: 1 Too many pods. {NO_VICTIMS}"


def test_taints_keep_pods_away_that_do_not_tolerate_them(space: Workspace, node: str) -> None:
    change_node(space, node, taints=[{"key": "only", "value": "batch", "effect": "NoSchedule"}])
    pod(space, "intolerant")
    text = "0/1 nodes are available: 1 node(s) had untolerated taint(s). "
    assert unschedulable(space, "intolerant") == text + NO_HELP
    pod(space, "tolerant", tolerations=[{"key": "only", "operator": "Exists"}])
    space.eventually(lambda: placed(space, "tolerant") == node)
    change_node(space, node, taints=[])
    space.eventually(lambda: placed(space, "intolerant") == node)


def test_a_cordoned_node_takes_no_pods(space: Workspace, node: str) -> None:
    change_node(space, node, unschedulable=True)
    pod(space, "waits")
    assert unschedulable(space, "waits") == f"0/1 nodes are available: 1 node(s) were unschedulable. {NO_HELP}"


def test_selectors_and_affinity_choose_nodes(space: Workspace, node: str) -> None:
    pod(space, "elsewhere", nodeSelector={"pool": "other"})
    text = f"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {NO_HELP}"
    assert unschedulable(space, "elsewhere") == text
    pod(space, "here", nodeSelector={"pool": "work"})
    space.eventually(lambda: placed(space, "here") == node)


def test_pods_may_keep_apart(space: Workspace, node: str) -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    pod(space, "one", affinity=apart)
    space.eventually(lambda: placed(space, "one") == node)
    pod(space, "two", affinity=apart)
    text = f"0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. {NO_VICTIMS}"
    assert unschedulable(space, "two") == text


# Claims


def claim(space: Workspace, name: str, storage_class: str | None) -> None:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "5Gi"}}}
    space.create("PersistentVolumeClaim", name, spec=spec | {"storageClassName": storage_class})


def bound(space: Workspace, name: str) -> Document:
    found: Document = space.eventually(
        lambda: one if (one := space.get("PersistentVolumeClaim", name))["status"]["phase"] == "Bound" else None
    )
    return found


def volume(space: Workspace, name: str) -> Document | None:
    try:
        return space.call("GET", f"/api/v1/persistentvolumes/{name}")
    except Refused:
        return None


def test_a_claim_on_azure_files_is_bound_to_a_share_of_its_own(space: Workspace) -> None:
    claim(space, "logs", "azurefile-csi")
    found = bound(space, "logs")
    assert found["status"]["capacity"] == {"storage": "5Gi"}
    name = found["spec"]["volumeName"]
    assert name == f"pvc-{found['metadata']['uid']}"
    share = volume(space, name)
    assert share is not None
    assert share["spec"]["csi"]["driver"] == "file.csi.azure.com"
    assert share["spec"]["claimRef"]["uid"] == found["metadata"]["uid"]
    assert events(space, "ProvisioningSucceeded", "logs") == [f"Successfully provisioned volume {name}"]
    space.delete("PersistentVolumeClaim", "logs")
    space.eventually(lambda: space.find("PersistentVolumeClaim", "logs") is None)
    space.eventually(lambda: volume(space, name) is None)


def test_a_claim_of_an_unknown_class_waits_and_says_why(space: Workspace) -> None:
    claim(space, "lost", "no-such-class")
    told = space.eventually(lambda: events(space, "ProvisioningFailed", "lost"))
    assert told == ['storageclass.storage.k8s.io "no-such-class" not found']
    assert space.get("PersistentVolumeClaim", "lost")["status"]["phase"] == "Pending"


def test_a_disk_waits_for_its_first_pod(space: Workspace, node: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    space.create("PersistentVolumeClaim", "disk", spec=spec | {"storageClassName": "managed-csi"})
    told = space.eventually(lambda: events(space, "WaitForFirstConsumer", "disk"))
    assert told == ["waiting for first consumer to be created before binding"]
    pod(space, "first", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "disk"}}])
    space.eventually(lambda: placed(space, "first") == node)
    annotations = bound(space, "disk")["metadata"]["annotations"]
    assert annotations["volume.kubernetes.io/selected-node"] == node


def test_a_claim_in_use_goes_after_its_pod(space: Workspace, node: str) -> None:
    claim(space, "dags", "azurefile-csi")
    pod(space, "reader", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "dags"}}])
    space.eventually(lambda: placed(space, "reader") == node)
    answer = space.delete("PersistentVolumeClaim", "dags")
    assert answer["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    space.steadily(lambda: space.find("PersistentVolumeClaim", "dags") is not None, 0.5)
    space.delete("Pod", "reader", gracePeriodSeconds=0)
    space.eventually(lambda: space.find("PersistentVolumeClaim", "dags") is None)


def test_a_pod_whose_claim_is_missing_is_not_placed(space: Workspace, node: str) -> None:
    assert node
    pod(space, "reader", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "nowhere"}}])
    text = '0/1 nodes are available: persistentvolumeclaim "nowhere" not found. not found'
    assert unschedulable(space, "reader") == text


def test_a_pod_whose_claim_is_not_bound_is_not_placed(space: Workspace, node: str) -> None:
    claim(space, "lost", "no-such-class")
    pod(space, "reader", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "lost"}}])
    text = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
    assert unschedulable(space, "reader") == text
    assert placed(space, "reader") != node


# Budgets


def budget(space: Workspace, **spec: Any) -> None:
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}}
    selector = {"matchLabels": {"app": "web"}}
    path = f"/apis/policy/v1/namespaces/{space.namespace}/poddisruptionbudgets"
    space.call("POST", path, {**body, "spec": {"selector": selector, **spec}})


def budget_status(space: Workspace) -> Document:
    path = f"/apis/policy/v1/namespaces/{space.namespace}/poddisruptionbudgets/web"
    status: Document = space.call("GET", path).get("status") or {}
    return {key: status.get(key) for key in ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")}


def evict(space: Workspace, name: str) -> Document:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    return space.call("POST", space.path("Pod", name, "eviction"), body)


def test_a_budget_lets_so_many_pods_be_evicted_and_no_more(space: Workspace) -> None:
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")}
    space.create("Deployment", "web", spec=spec)
    budget(space, maxUnavailable=1)
    space.eventually(lambda: len(space.pods(app="web")) == 3)
    space.make_ready(app="web")
    wanted = {"currentHealthy": 3, "desiredHealthy": 2, "disruptionsAllowed": 1, "expectedPods": 3}
    space.eventually(lambda: budget_status(space) == wanted)
    first, second, _ = space.pods(app="web")
    evict(space, first["metadata"]["name"])
    space.eventually(lambda: budget_status(space)["disruptionsAllowed"] == 0)
    with pytest.raises(Refused) as refused:
        evict(space, second["metadata"]["name"])
    status = refused.value.status
    assert (status["code"], status["reason"]) == (429, "TooManyRequests")
    assert status["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    (cause,) = status["details"]["causes"]
    assert cause["reason"] == "DisruptionBudget"
    assert cause["message"] == "The disruption budget web needs 2 healthy pods and has 2 currently"
    space.make_ready(app="web")
    space.eventually(lambda: budget_status(space)["disruptionsAllowed"] == 1)


@pytest.mark.parametrize(
    ("rule", "desired"), [({"minAvailable": 2}, 2), ({"minAvailable": "50%"}, 2), ({"maxUnavailable": "30%"}, 2)]
)
def test_budgets_count_in_pods_or_per_cent(space: Workspace, rule: Document, desired: int) -> None:
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")}
    space.create("Deployment", "web", spec=spec)
    budget(space, **rule)
    space.eventually(lambda: budget_status(space)["desiredHealthy"] == desired)


# Services and jobs


def test_a_load_balancer_gets_an_address_and_gives_it_back(space: Workspace) -> None:
    internal = {"service.beta.kubernetes.io/azure-load-balancer-internal": "true"}
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 443}]}
    space.create("Service", "inside", metadata={"annotations": internal}, spec=spec)
    space.create("Service", "outside", spec=spec)

    def address(name: str) -> str:
        ingress = space.get("Service", name)["status"]["loadBalancer"].get("ingress") or [{"ip": ""}]
        ip: str = ingress[0]["ip"]
        return ip

    assert space.eventually(lambda: address("inside")).startswith("10.224.")
    assert space.eventually(lambda: address("outside")).startswith("198.")
    assert events(space, "EnsuredLoadBalancer", "inside") == ["Ensured load balancer"]
    space.delete("Service", "outside")
    space.eventually(lambda: space.find("Service", "outside") is None)


def test_a_job_that_has_ended_goes_after_its_time(space: Workspace) -> None:
    pod_template = template("work", restartPolicy="Never")
    space.create("Job", "work", spec={"template": pod_template, "ttlSecondsAfterFinished": 1})
    (made,) = space.eventually(lambda: space.pods(app="work"))
    space.say(made, "Succeeded")
    space.eventually(lambda: space.find("Job", "work") is None)
    space.eventually(lambda: not space.pods(app="work"))


def test_a_suspended_job_has_no_pods_until_it_is_resumed(space: Workspace) -> None:
    space.create("Job", "work", spec={"template": template("work", restartPolicy="Never"), "suspend": True})
    space.eventually(lambda: events(space, "Suspended", "work"))
    assert not space.pods(app="work")
    space.patch("Job", "work", {"spec": {"suspend": False}})
    space.eventually(lambda: len(space.pods(app="work")) == 1)
    space.patch("Job", "work", {"spec": {"suspend": True}})
    space.eventually(lambda: not space.pods(app="work"))
    assert not space.get("Job", "work")["status"].get("failed")


def test_a_pod_of_a_job_is_counted_though_it_is_deleted_at_once(space: Workspace) -> None:
    spec = {"template": template("work", restartPolicy="Never"), "completions": 2}
    space.create("Job", "work", spec=spec)
    (made,) = space.eventually(lambda: space.pods(app="work"))
    assert made["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    space.say(made, "Succeeded")
    space.delete("Pod", made["metadata"]["name"])
    space.eventually(lambda: space.get("Job", "work")["status"].get("succeeded") == 1)
    space.eventually(lambda: [one["metadata"]["uid"] for one in space.pods(app="work")] != [made["metadata"]["uid"]])
