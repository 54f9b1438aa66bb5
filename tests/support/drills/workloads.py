"""Drills of nodes, pods and Deployments, whatever runs in them; and of what is seen when nothing else is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.engine.polling import wait_until
from airflowaks.kube.client import Reference
from airflowaks.steps import airflow
from tests.support.deployed import NAMESPACE
from tests.support.drills.drill import Drills, deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Scene

WORKLOADS, LAST = Drills(), Drills()
"""The last take away what others need."""
_COMPONENT = "triggerer"
_SETTINGS = Reference("v1", "ConfigMap", "airflow-configuration", NAMESPACE)
_JSON = "application/merge-patch+json"


def _resources(scene: Scene) -> dict[str, dict[str, str]]:
    """What the component's container asks for, and may take."""
    found = scene.kube.get(deployment(_COMPONENT)) or {}
    resources: dict[str, dict[str, str]] = found["spec"]["template"]["spec"]["containers"][0]["resources"]
    return resources


@WORKLOADS.drill("AKA-801", fast=True)
def a_pod_asks_for_more_than_a_node_has(scene: Scene) -> Iterator[None]:
    before = _resources(scene)
    scene.edit(_COMPONENT, resources={"requests": {"cpu": "1000"}})
    yield
    scene.edit(_COMPONENT, resources=before)


@WORKLOADS.drill("AKA-806", also=("AKA-903",))
def the_nodes_are_cordoned(scene: Scene) -> Iterator[None]:
    nodes = [Reference.of(one) for one in scene.kube.each("v1", "Node")]
    for node in nodes:
        scene.patch(node, {"spec": {"unschedulable": True}}, _JSON)
    scene.replace(_COMPONENT)
    yield
    for node in nodes:
        scene.patch(node, {"spec": {"unschedulable": None}}, _JSON)


@WORKLOADS.drill("AKA-806", also=("AKA-903",))
def the_nodes_are_tainted(scene: Scene) -> Iterator[None]:
    nodes = list(scene.kube.each("v1", "Node"))
    taint = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
    for node in nodes:
        taints = [*(node["spec"].get("taints") or []), taint]
        scene.patch(Reference.of(node), {"spec": {"taints": taints}}, _JSON)
    scene.replace(_COMPONENT)
    yield
    for node in nodes:
        scene.patch(Reference.of(node), {"spec": {"taints": node["spec"].get("taints")}}, _JSON)


@WORKLOADS.drill("AKA-806", changes=("AKA-822",))
def pods_ask_for_a_label_that_no_node_has(scene: Scene) -> Iterator[None]:
    scene.edit(_COMPONENT, {"nodeSelector": {"disk": "ssd"}})
    yield


@WORKLOADS.drill("AKA-802")
def a_container_may_take_too_little_memory(scene: Scene) -> Iterator[None]:
    before = _resources(scene)
    scene.edit(_COMPONENT, resources={"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}})
    yield
    scene.edit(_COMPONENT, resources=before)


@WORKLOADS.drill("AKA-805", fast=True)
def what_lets_tasks_reach_the_api_server_is_deleted(scene: Scene) -> Iterator[None]:
    scene.kube.delete(Reference("networking.k8s.io/v1", "NetworkPolicy", "airflow-api-server", NAMESPACE))
    scene.kube.delete(Reference("policy/v1", "PodDisruptionBudget", "airflow-scheduler", NAMESPACE))
    yield


@WORKLOADS.drill("AKA-805")
def a_deployment_is_deleted(scene: Scene) -> Iterator[None]:
    scene.kube.delete(deployment(_COMPONENT))
    yield


@WORKLOADS.drill("AKA-805", also=("AKA-816",))
def the_service_account_of_pods_is_deleted(scene: Scene) -> Iterator[None]:
    scene.kube.delete(Reference("v1", "ServiceAccount", "airflow-dags", NAMESPACE))
    scene.replace(_COMPONENT)
    yield


@WORKLOADS.drill("AKA-815", changes=("AKA-822",))
def a_container_reads_a_config_map_that_is_not_there(scene: Scene) -> Iterator[None]:
    reference = {"configMapKeyRef": {"name": "nowhere", "key": "value"}}
    scene.edit(_COMPONENT, env=[{"name": "DRILL", "valueFrom": reference}])
    yield


@WORKLOADS.drill("AKA-816")
def a_quota_of_the_namespace_is_too_small(scene: Scene) -> Iterator[None]:
    quota = Reference("v1", "ResourceQuota", "drill", NAMESPACE)
    metadata = {"name": quota.name, "namespace": NAMESPACE}
    scene.kube.apply({"apiVersion": "v1", "kind": quota.kind, "metadata": metadata, "spec": {"hard": {"pods": "1"}}})
    scene.replace(_COMPONENT)
    yield
    scene.kube.delete(quota)


@WORKLOADS.drill("AKA-816")
def a_limit_range_of_the_namespace_allows_too_little_memory(scene: Scene) -> Iterator[None]:
    limits = Reference("v1", "LimitRange", "drill", NAMESPACE)
    metadata = {"name": limits.name, "namespace": NAMESPACE}
    spec = {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}
    scene.kube.apply({"apiVersion": "v1", "kind": limits.kind, "metadata": metadata, "spec": spec})
    scene.replace(_COMPONENT)
    yield
    scene.kube.delete(limits)


@WORKLOADS.drill("AKA-816", by_hand=True)
def an_admission_webhook_does_not_answer(scene: Scene) -> Iterator[None]:
    """Its pods are gone, and its configuration is not; of pods it is to see only one component's."""
    hook = Reference("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "drill", "")
    webhook = {
        "name": "drill.example.com",
        "clientConfig": {"service": {"name": "drill", "namespace": "kube-system"}},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        "objectSelector": {"matchLabels": {"app.kubernetes.io/component": _COMPONENT}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    document = {"apiVersion": hook.api_version, "kind": hook.kind, "metadata": {"name": hook.name}}
    scene.kube.apply({**document, "webhooks": [webhook]})
    scene.replace(_COMPONENT)
    yield
    scene.kube.delete(hook)


@WORKLOADS.drill("AKA-816", changes=("AKA-807",))
def a_container_is_given_what_the_namespace_forbids(scene: Scene) -> Iterator[None]:
    """The pods from before go on serving."""
    scene.edit(_COMPONENT, securityContext={"allowPrivilegeEscalation": True})
    yield


@WORKLOADS.drill("AKA-816", changes=("AKA-807",))
def the_pod_security_label_is_tightened(scene: Scene) -> Iterator[None]:
    """Under the label from before, the pods of an edited Deployment ran."""
    before = scene.pods(_COMPONENT)
    _enforce(scene, "baseline")
    scene.edit(_COMPONENT, securityContext={"allowPrivilegeEscalation": True})
    scene.await_rolled(_COMPONENT, before)
    _enforce(scene, "restricted")
    scene.replace(_COMPONENT)
    yield


def _enforce(scene: Scene, level: str) -> None:
    namespace = Reference("v1", "Namespace", NAMESPACE)
    scene.patch(namespace, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}}, _JSON)


@WORKLOADS.drill("AKA-807")
def a_setting_is_taken_out(scene: Scene) -> Iterator[None]:
    scene.patch(_SETTINGS, {"data": {"AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": None}}, _JSON)
    yield


@WORKLOADS.drill("AKA-807")
def a_setting_is_edited(scene: Scene) -> Iterator[None]:
    """What somebody else has set, step 7 does not overwrite: the fix takes it over."""
    scene.patch(_SETTINGS, {"data": {"AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "300"}}, _JSON)
    yield


@WORKLOADS.drill("AKA-811", also=("AKA-904",))
def a_deployment_is_scaled_to_nothing(scene: Scene) -> Iterator[None]:
    path = f"{scene.kube.path(deployment(_COMPONENT))}/scale"
    scene.kube.request("PATCH", path, {"fieldManager": "kubectl"}, {"spec": {"replicas": 0}}, _JSON)
    yield


@WORKLOADS.drill("AKA-811")
def a_deployment_is_paused(scene: Scene) -> Iterator[None]:
    scene.patch(deployment(_COMPONENT), {"spec": {"paused": True}})
    yield


@WORKLOADS.drill("AKA-823", changes=("AKA-807",))
def keda_signs_in_with_a_secret_that_is_not_there(scene: Scene) -> Iterator[None]:
    authentication = Reference("keda.sh/v1alpha1", "TriggerAuthentication", "airflow-worker", NAMESPACE)
    source = {"parameter": "connection", "name": "nowhere", "key": "connection"}
    scene.patch(authentication, {"spec": {"secretTargetRef": [source]}}, _JSON)
    yield


@WORKLOADS.drill("AKA-901")
def a_container_ends_at_once(scene: Scene) -> Iterator[None]:
    before = (scene.kube.get(deployment(_COMPONENT)) or {})["spec"]["template"]["spec"]["containers"][0]["command"]
    scene.edit(_COMPONENT, command=["python", "-c", "raise SystemExit('nothing that a rule knows')"])
    yield
    scene.edit(_COMPONENT, command=before)


@WORKLOADS.drill("AKA-902")
def a_probe_never_passes(scene: Scene) -> Iterator[None]:
    before = (scene.kube.get(deployment(_COMPONENT)) or {})["spec"]["template"]["spec"]["containers"][0]
    probe = before["startupProbe"]
    program = ["python", "-c", "import time; time.sleep(600)"]
    failing = ["python", "-c", "raise SystemExit('no heartbeat')"]
    scene.edit(
        _COMPONENT,
        command=program,
        startupProbe={"exec": {"command": failing}, "initialDelaySeconds": 0, "failureThreshold": 2},
    )
    yield
    scene.edit(_COMPONENT, command=before["command"], startupProbe=probe)


@WORKLOADS.drill("AKA-812")
def the_nodes_are_silent(scene: Scene) -> Iterator[None]:
    scene.break_down("silence")
    yield
    scene.serve()


@WORKLOADS.drill("AKA-812", also=("AKA-813",))
def a_nodes_disk_is_full(scene: Scene) -> Iterator[None]:
    (pod,) = scene.pods(_COMPONENT)
    scene.break_down("disk", name=pod.name)
    yield
    scene.serve()
    scene.kube.delete(pod)


@WORKLOADS.drill("AKA-813")
def a_pod_has_filled_its_nodes_disk(scene: Scene) -> Iterator[None]:
    """It was evicted, and that was enough: the node is well again."""
    (pod,) = scene.pods(_COMPONENT)
    scene.break_down("disk", name=pod.name)
    wait_until(lambda: scene.kube.get(pod) or {}, lambda found: found["status"].get("reason") == "Evicted", 60)
    scene.serve()
    yield
    scene.kube.delete(pod)


@LAST.drill("AKA-804", proof=airflow)
def the_namespace_is_deleted(scene: Scene) -> Iterator[None]:
    namespace = Reference("v1", "Namespace", NAMESPACE)
    scene.kube.delete(namespace)
    wait_until(lambda: scene.kube.get(namespace), lambda found: found is None, 120, longest_pause=1)
    yield
    with scene.api() as api:  # the drills' own file went with the namespace's share
        for dag in api._send("GET", "/api/v2/dags?limit=100&exclude_stale=false")["dags"]:
            if dag["relative_fileloc"] == "drills.py":
                api._send("DELETE", f"/api/v2/dags/{dag['dag_id']}")
