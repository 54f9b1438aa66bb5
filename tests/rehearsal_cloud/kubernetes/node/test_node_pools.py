"""Nodes of pools that come and go: upgraded one after the other, drained, removed; with pods on them that run."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.containerservice import ContainerServiceClient
from kubernetes.client import AppsV1Api, PolicyV1Api
from kubernetes.watch import Watch

from tests.support import managed_cluster as azure
from tests.support.node import Namespace, admin, shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.core.credentials import TokenCredential
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

GROUP, CLUSTER, POOL = "pools", "airflow", "workers"
SPOT = {"scaleSetPriority": "Spot", "enableAutoScaling": True, "minCount": 0, "maxCount": 2}
MINUTES = 5
"""How long a drain may take; four seconds each here."""


@pytest.fixture(scope="module")
def aks(rehearsal: Rehearsal, operator: TokenCredential) -> Iterator[ContainerServiceClient]:
    with ContainerServiceClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        yield client


@pytest.fixture(scope="module")
def cluster(send: Sender, rehearsal: Rehearsal, resources: ResourceManagementClient) -> str:
    resources.resource_groups.create_or_update(GROUP, {"location": "westeurope"})
    settings = {"drainTimeoutInMinutes": MINUTES}
    size = {"mode": "System", "count": 2, "vmSize": "Standard_D4s_v5", "osType": "Linux", "upgradeSettings": settings}
    pools = [{"name": POOL, **size}]
    return azure.managed_cluster(send, rehearsal.subscription, GROUP, aadProfile=None, agentPoolProfiles=pools)


@pytest.fixture
def namespace(send: Sender, cluster: str) -> Iterator[Namespace]:
    with admin(send, cluster) as api:
        made = Namespace(api, f"test-{uuid.uuid4().hex[:8]}")
        yield made
        for pod in made.core.list_namespaced_pod(made.name).items:
            made.core.delete_namespaced_pod(pod.metadata.name, made.name, grace_period_seconds=0)


def nodes(namespace: Namespace) -> dict[str, str]:
    """The UIDs of the nodes by name."""
    return {node.metadata.name: node.metadata.uid for node in namespace.core.list_node().items}


def ends_after(namespace: Namespace, seconds: int) -> str:
    """A pod that takes its time to end."""
    name = namespace.pod(
        shell(f"trap 'sleep {seconds}; exit 0' TERM; sleep 60 & wait"), terminationGracePeriodSeconds=3600
    )
    namespace.ready(name)
    return name


def events(namespace: Namespace, reason: str) -> list[str]:
    listed = namespace.core.list_namespaced_event("default", field_selector=f"reason={reason}").items
    return [event.message for event in listed]


def test_an_upgrade_drains_node_by_node_and_waits_for_pods(namespace: Namespace, aks: ContainerServiceClient) -> None:
    before, waiting = nodes(namespace), ends_after(namespace, 2)
    aks.agent_pools.begin_upgrade_node_image_version(GROUP, CLUSTER, POOL).result()
    assert waiting not in [pod.metadata.name for pod in namespace.core.list_namespaced_pod(namespace.name).items]
    after = nodes(namespace)
    assert after.keys() == before.keys(), "machines are reimaged, and the surge node is gone"
    assert not set(after.values()) & set(before.values())
    assert not any(node.spec.unschedulable for node in namespace.core.list_node().items)
    assert len(events(namespace, "Surge")) == 1
    assert {f"Draining node: {name}" for name in before} < set(events(namespace, "Drain"))


def test_an_upgrade_gives_nodes_the_version_of_their_pool(namespace: Namespace, aks: ContainerServiceClient) -> None:
    body: Any = aks.managed_clusters.get(GROUP, CLUSTER)
    body.properties.kubernetes_version = "1.36"
    body.properties.agent_pool_profiles[0].node_image_version = None
    aks.managed_clusters.begin_create_or_update(GROUP, CLUSTER, body).result()
    versions = lambda: {node.status.node_info.kubelet_version for node in namespace.core.list_node().items}  # noqa: E731
    assert versions() == {"v1.35.3"}
    pool: Any = aks.agent_pools.get(GROUP, CLUSTER, POOL)
    pool.properties.orchestrator_version, pool.properties.node_image_version = "1.36", None
    aks.agent_pools.begin_create_or_update(GROUP, CLUSTER, POOL, pool).result()
    assert versions() == {"v1.36.1"}


@pytest.mark.parametrize("kept", [False, True], ids=["long", "kept"])
def test_an_upgrade_stops_at_a_pod_that_does_not_end(
    namespace: Namespace, aks: ContainerServiceClient, *, kept: bool
) -> None:
    """Its node is schedulable again; when the pod is gone, the upgrade goes on."""
    names, pod = nodes(namespace).keys(), ends_after(namespace, 60)
    if kept:
        budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": pod}}}
        body = {"metadata": {"name": "kept"}, "spec": budget}
        PolicyV1Api(namespace.api).create_namespaced_pod_disruption_budget(namespace.name, body)
    words = "violate the pod's disruption budget" if kept else "grace period 1h0m0s was greater than remaining per node"
    with pytest.raises(HttpResponseError, match=words) as refused:
        aks.agent_pools.begin_upgrade_node_image_version(GROUP, CLUSTER, POOL).result()
    assert refused.value.error is not None
    assert refused.value.error.code == "UpgradeFailed"
    assert aks.managed_clusters.get(GROUP, CLUSTER).properties.provisioning_state == "Failed"
    assert nodes(namespace).keys() == names
    assert not any(node.spec.unschedulable for node in namespace.core.list_node().items)
    namespace.core.delete_namespaced_pod(pod, namespace.name, grace_period_seconds=0)
    aks.agent_pools.begin_upgrade_node_image_version(GROUP, CLUSTER, POOL).result()
    assert aks.managed_clusters.get(GROUP, CLUSTER).properties.provisioning_state == "Succeeded"


def test_a_smaller_pool_drains_what_it_gives_up(namespace: Namespace, aks: ContainerServiceClient) -> None:
    pool: Any = aks.agent_pools.get(GROUP, CLUSTER, POOL)
    pool.properties.count, pool.properties.node_image_version = 1, None
    before = nodes(namespace)
    aks.agent_pools.begin_create_or_update(GROUP, CLUSTER, POOL, pool).result()
    assert nodes(namespace) == dict([min(before.items())])


def test_the_autoscaler_adds_the_first_node_of_a_spot_pool_for_a_pod_that_may_run_there(
    namespace: Namespace, aks: ContainerServiceClient
) -> None:
    """No node has the pool's label, and none lacks room: what the pod waits for is a pool without nodes."""
    pool: Any = {"properties": {"mode": "User", "vmSize": "Standard_D4s_v5", "osType": "Linux", "count": 0, **SPOT}}
    aks.agent_pools.begin_create_or_update(GROUP, CLUSTER, "spot", pool).result()
    cluster: Any = aks.managed_clusters.get(GROUP, CLUSTER)
    for profile in cluster.properties.agent_pool_profiles:
        profile.node_image_version = None
    cluster.properties.auto_scaler_profile = {"scale-down-unneeded-time": "1m", "scale-down-delay-after-add": "1m"}
    aks.managed_clusters.begin_create_or_update(GROUP, CLUSTER, cluster).result()
    before = nodes(namespace).keys()
    taint = {"key": "kubernetes.azure.com/scalesetpriority", "value": "spot", "effect": "NoSchedule"}
    placement = {"nodeSelector": {"kubernetes.azure.com/agentpool": "spot"}, "terminationGracePeriodSeconds": 1}
    stays, runs = (
        namespace.pod(shell("sleep 60"), **placement, tolerations=tolerations) for tolerations in ([], [taint])
    )
    namespace.ready(runs)
    (added,) = nodes(namespace).keys() - before
    assert added.startswith("aks-spot-")
    assert namespace.core.read_namespaced_pod(runs, namespace.name).spec.node_name == added
    assert namespace.core.read_namespaced_pod(stays, namespace.name).spec.node_name is None
    namespace.core.delete_namespaced_pod(runs, namespace.name)
    namespace.until(lambda: nodes(namespace).keys() == before)
    aks.agent_pools.begin_delete(GROUP, CLUSTER, "spot").result()


def test_the_autoscaler_adds_nodes_for_pods_and_removes_those_that_nobody_keeps(
    namespace: Namespace, aks: ContainerServiceClient
) -> None:
    pool: Any = aks.agent_pools.get(GROUP, CLUSTER, POOL)
    pool.properties.node_image_version, pool.properties.enable_auto_scaling = None, True
    pool.properties.min_count, pool.properties.max_count = 1, 3
    aks.agent_pools.begin_create_or_update(GROUP, CLUSTER, POOL, pool).result()
    cluster: Any = aks.managed_clusters.get(GROUP, CLUSTER)
    cluster.properties.agent_pool_profiles[0].node_image_version = None
    profile = {
        "scale-down-unneeded-time": "2m",
        "scale-down-delay-after-add": "1m",
        "scale-down-delay-after-delete": "1s",
    }
    cluster.properties.auto_scaler_profile = profile
    aks.managed_clusters.begin_create_or_update(GROUP, CLUSTER, cluster).result()
    (first,) = nodes(namespace)
    begun = namespace.core.list_node().metadata.resource_version

    def count() -> int:
        assert aks.agent_pools.get(GROUP, CLUSTER, POOL).properties.count == len(nodes(namespace))
        return len(nodes(namespace))

    def deployment(name: str, cpu: str, annotations: dict[str, str] | None = None) -> None:
        container = shell("sleep 60", resources={"requests": {"cpu": cpu}})
        labels = {"app": name}
        template = {
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
        }
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        apps.create_namespaced_deployment(namespace.name, {"metadata": {"name": name}, "spec": spec})

    apps = AppsV1Api(namespace.api)
    for name in ("first", "second", "third", "fourth"):
        deployment(name, "3")
    namespace.until(lambda: len(nodes(namespace)) == 3)

    def told(reason: str) -> list[str]:
        listed = namespace.core.list_namespaced_event(namespace.name, field_selector=f"reason={reason}").items
        return [event.message for event in listed]

    namespace.until(lambda: told("NotTriggerScaleUp"))
    assert told("NotTriggerScaleUp") == ["pod didn't trigger scale-up: 1 max node group size reached"]
    assert sorted(text.split("[")[1].split(" ", 1)[1] for text in told("TriggeredScaleUp")) == [
        "1->2 (max: 3)}]",
        "2->3 (max: 3)}]",
    ]
    # One that may not be evicted, on one of the new nodes.
    where = lambda app: next(  # noqa: E731
        (
            pod.spec.node_name
            for pod in namespace.core.list_namespaced_pod(namespace.name, label_selector=f"app={app}").items
        ),
        "",
    )
    deployment("kept", "100m", {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"})
    node = namespace.until(lambda: where("kept"))
    for name in ("first", "second", "third", "fourth"):
        apps.delete_namespaced_deployment(name, namespace.name)
    namespace.until(lambda: len(nodes(namespace)) == (1 if node == first else 2))
    time.sleep(4)
    assert node in nodes(namespace)
    assert count() == (1 if node == first else 2)
    apps.delete_namespaced_deployment("kept", namespace.name)
    namespace.until(lambda: len(nodes(namespace)) == 1)
    assert count() == 1
    changes = Watch().stream(namespace.core.list_node, resource_version=begun, timeout_seconds=1)
    specs = [change["object"].spec for change in changes]
    assert {taint.key for spec in specs for taint in spec.taints or ()} == {"ToBeDeletedByClusterAutoscaler"}
    assert not any(spec.unschedulable for spec in specs)  # tainted, not cordoned
