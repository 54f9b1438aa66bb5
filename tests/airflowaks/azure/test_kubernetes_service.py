"""The AKS cluster: what its tier brings with it, how long its nodes wait for pods, and when they are upgraded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import merge
from airflowaks.azure.entra import Group, GroupMembers
from airflowaks.azure.identities import ManagedIdentity
from airflowaks.azure.kubernetes_service import UPGRADES, MaintenanceWindow, ManagedCluster
from airflowaks.azure.node_pools import AgentPool
from airflowaks.azure.upgrades import ControlPlane, NodeImage, PoolVersion
from airflowaks.config.schema import SpotPool, SystemPool
from airflowaks.engine.changes import Action, Change, Changes
from airflowaks.engine.converge import converge
from airflowaks.engine.resource import ADOPTED
from airflowaks.kube.client import connect
from airflowaks.session import Session
from airflowaks.steps import cluster as cluster_step

if TYPE_CHECKING:
    from airflowaks.azure.subscription import ResourceGroup
    from airflowaks.session import Mode


def test_long_term_support_comes_and_goes_with_the_tier(group: ResourceGroup) -> None:
    before = group.session

    def converged(tier: str) -> tuple[Action, str]:
        settings = before.environment.cluster.model_copy(update={"tier": tier})
        environment = before.environment.model_copy(update={"cluster": settings})
        session = Session(environment, "apply", before.connection)
        admins = Group(session, f"{group.name}-admins", "a test's")
        identity = ManagedIdentity(session, "cluster")
        cluster = ManagedCluster(session, identity=identity, admins=admins)
        *_, change = converge(session, admins, identity, cluster)
        return change.action, str(cluster.require("properties.supportPlan"))

    assert converged("Standard") == (Action.CREATE, "KubernetesOfficial")
    assert converged("Standard") == (Action.NONE, "KubernetesOfficial")
    assert converged("Premium") == (Action.UPDATE, "AKSLongTermSupport")
    assert converged("Premium") == (Action.NONE, "AKSLongTermSupport")
    assert converged("Free") == (Action.UPDATE, "KubernetesOfficial")


def test_a_cluster_of_before_waits_for_pods_and_gets_its_windows_once(group: ResourceGroup) -> None:
    session = group.session
    admins = Group(session, f"{group.name}-admins", "a test's")
    identity = ManagedIdentity(session, "cluster")
    cluster = ManagedCluster(session, identity=identity, admins=admins)
    converge(session, admins, identity)
    before: Any = cluster.desired()
    del before["properties"]["autoScalerProfile"]
    (pool,) = before["properties"]["agentPoolProfiles"]
    del pool["upgradeSettings"]
    cluster.put({**before, "properties": {**before["properties"], "agentPoolProfiles": [{**pool, "count": 2}]}})
    resources = (cluster, *(MaintenanceWindow(cluster, name) for name in UPGRADES))
    first, second = converge(session, *resources), converge(session, *resources)
    assert [change.action for change in first] == [Action.UPDATE, Action.CREATE, Action.CREATE]
    assert [(each.path, each.before, each.after) for each in first[0].differences] == [
        ("properties.autoScalerProfile.max-graceful-termination-sec", "600", "5400"),
        ("properties.agentPoolProfiles[0].upgradeSettings.drainTimeoutInMinutes", None, 90),
    ]
    assert {change.action for change in second} == {Action.NONE}
    assert cluster.fact("properties.agentPoolProfiles")[0]["upgradeSettings"]["maxSurge"] == "10%"


def test_an_operation_under_way_is_waited_for_while_it_may_drain_the_nodes(group: ResourceGroup) -> None:
    session = group.session
    admins = Group(session, f"{group.name}-admins", "a test's")
    identity = ManagedIdentity(session, "cluster")
    cluster = ControlPlane(session, identity=identity, admins=admins)
    assert cluster.finishing_seconds == 3600
    converge(session, admins, identity)
    cluster.put(ManagedCluster(session, identity=identity, admins=admins).desired())

    def hours(count: int, **settings: Any) -> float:
        (name,) = cluster.own_pools
        pool = PoolVersion(cluster, name)
        body: Any = merge(pool.kept(pool.refresh()), {"properties": {"count": count, "upgradeSettings": settings}})
        pool.put(body)
        cluster.refresh()
        image, written = NodeImage(cluster, name), AgentPool(cluster, {"name": name})
        assert {cluster.finishing_seconds} == {each.finishing_seconds for each in (pool, image, written)}
        return cluster.finishing_seconds / 3600

    assert hours(2) >= (2 + 1) * 1.5
    assert hours(5) - hours(2) >= 3 * 1.5
    assert hours(4, maxSurge="50%") - hours(4, maxSurge="1") >= 1.5
    assert hours(2, drainTimeoutInMinutes=1440) >= (2 + 1) * 24


def test_a_cluster_of_one_pool_gets_a_system_pool_and_one_of_spot_machines(group: ResourceGroup) -> None:
    before = group.session

    def converged(mode: Mode = "apply", **pools: Any) -> tuple[Session, ManagedCluster, Change]:
        settings = before.environment.cluster.model_copy(update=pools)
        session = Session(before.environment.model_copy(update={"cluster": settings}), mode, before.connection)
        admins = Group(session, f"{group.name}-admins", "a test's")
        identity = ManagedIdentity(session, "cluster")
        cluster = ManagedCluster(session, identity=identity, admins=admins)
        *_, change = converge(session, admins, GroupMembers(admins, {session.operator.object_id}), identity, cluster)
        return session, cluster, change

    _, cluster, change = converged()
    assert [(pool["name"], pool["mode"]) for pool in cluster.fact("properties.agentPoolProfiles")] == [
        ("airflow", "System")
    ]
    pools = {"system_pool": SystemPool(min_count=1), "spot_pool": SpotPool()}
    session, cluster, change = converged(**pools)
    assert change.action is Action.UPDATE
    facts = {pool["name"]: pool for pool in cluster.fact("properties.agentPoolProfiles")}
    assert {name: (pool["mode"], pool["count"]) for name, pool in facts.items()} == {
        "airflow": ("User", 2),
        "system": ("System", 1),
        "spot": ("User", 0),
    }
    assert facts["system"]["nodeTaints"] == ["CriticalAddonsOnly=true:NoSchedule"]
    second = converged(**pools)[2]
    assert (second.action, second.note) == (Action.NONE, "")
    command = f"az aks nodepool delete --resource-group {group.name} --cluster-name {cluster.name} --name"
    planned = converged("plan", system_pool=pools["system_pool"])[2]
    assert planned.action is Action.NONE
    assert planned.note == (
        f"Node pool spot is not in the environment file; it stays, and its 0 nodes cost: `{command} spot` removes it."
    )
    assert planned.note in str(Changes([planned]))
    assert f"`{command} system` removes it. Node pool spot" in converged("plan")[2].note
    nodes = list(session.memoize(connect).each("v1", "Node"))
    assert sorted(
        (labels["agentpool"], labels["kubernetes.azure.com/mode"], len(node["spec"].get("taints", ())))
        for node in nodes
        for labels in [node["metadata"]["labels"]]
    ) == [("airflow", "user", 0), ("airflow", "user", 0), ("system", "system", 1)]


def test_a_new_cluster_has_all_of_its_pools_at_once(group: ResourceGroup) -> None:
    before = group.session
    settings = before.environment.cluster.model_copy(update={"system_pool": SystemPool(), "spot_pool": SpotPool()})
    session = Session(before.environment.model_copy(update={"cluster": settings}), "apply", before.connection)
    admins, identity = Group(session, f"{group.name}-admins", "a test's"), ManagedIdentity(session, "cluster")
    cluster = ManagedCluster(session, identity=identity, admins=admins)
    assert [each.action for each in converge(session, admins, identity, cluster)][-1] is Action.CREATE
    names = [(pool["name"], pool["mode"]) for pool in cluster.fact("properties.agentPoolProfiles")]
    assert names == [("system", "System"), ("airflow", "User"), ("spot", "User")]
    assert converge(session, cluster)[0].action is Action.NONE


def test_an_update_of_a_window_keeps_the_days_of_others_and_sends_no_day_that_is_past(group: ResourceGroup) -> None:
    session = group.session
    admins, identity = Group(session, f"{group.name}-admins", "a test's"), ManagedIdentity(session, "cluster")
    cluster = ManagedCluster(session, identity=identity, admins=admins)
    window = MaintenanceWindow(cluster, UPGRADES[1])
    converge(session, admins, identity, cluster, window)
    holidays = [{"start": "2026-12-23", "end": "2027-01-03"}]
    daily = {"schedule": {"daily": {"intervalDays": 1}}, "notAllowedDates": holidays}
    body = {**window.desired()["properties"]["maintenanceWindow"], **daily}
    window.put({"properties": {"maintenanceWindow": body}})
    (change,) = converge(session, window)
    assert {each.path for each in change.differences} == {
        "properties.maintenanceWindow.schedule.weekly.intervalWeeks",
        "properties.maintenanceWindow.schedule.weekly.dayOfWeek",
    }
    assert window.fact("properties.maintenanceWindow.notAllowedDates") == holidays
    assert window.fact("properties.maintenanceWindow.startDate")
    assert window.fact("properties.maintenanceWindow.utcOffset") == "+01:00", "the standard time of westeurope"
    assert list(window.kept(window.facts)["properties"]["maintenanceWindow"]) == ["notAllowedDates"]


def test_an_adopted_cluster_keeps_the_hours_of_its_owner(group: ResourceGroup) -> None:
    session = group.session
    step = session.memoize(cluster_step.Resources)
    converge(session, step.admins, step.identity)
    body: Any = step.cluster.desired()
    (pool,) = body["properties"]["agentPoolProfiles"]
    body["properties"]["agentPoolProfiles"] = [{**pool, "count": 2}]
    step.cluster.put({**body, "tags": {}})
    (change,) = cluster_step.cluster(session)
    assert (change.action, change.origin) == (Action.NONE, ADOPTED)
    assert all(window.facts is None for window in step.windows)
