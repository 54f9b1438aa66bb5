"""Drills of Azure's control plane."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from azure.core.exceptions import AzureError, HttpResponseError

from airflowaks.azure.region import quotas
from airflowaks.engine.polling import wait_until
from airflowaks.kube.client import Reference
from airflowaks.kube.pods import is_ready
from airflowaks.session import open_session
from airflowaks.steps import cluster, key_vault, registry
from tests.support.deployed import NAMESPACE
from tests.support.drills.drill import SEEN_SECONDS, Drills
from tests.support.hardened import hardened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.drills.drill import Act, Scene

AZURE = Drills()
_REFUSALS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "refusals.yaml").read_text())


@AZURE.drill("AKA-101")
def a_provider_is_unregistered(scene: Scene) -> Iterator[None]:
    scene.session.resources.providers.unregister("Microsoft.Cache")
    yield


def _refused(rule: str, *, later: bool = False) -> None:
    """The cluster is to be updated, and Azure refuses: at once, or `later`, when it has accepted and cannot do it."""

    def act(scene: Scene) -> Iterator[None]:
        scene.refuse(path="/managedClusters/[^/]+$", later=later, **_REFUSALS[rule])
        with suppress(HttpResponseError):
            _update_cluster(scene)
        yield
        scene.serve()
        _update_cluster(scene)

    act.__name__ = f"{_REFUSALS[rule]['code']}_{'later' if later else 'at_once'}"
    AZURE.drill(rule, fast=rule == "AKA-102" and not later)(act)


def _update_cluster(scene: Scene) -> None:
    known = scene.step(cluster).cluster
    known.write(known.refresh())


for _rule in ("AKA-102", "AKA-104", "AKA-110", "AKA-111", "AKA-112", "AKA-113", "AKA-114"):
    _refused(_rule)
for _rule in ("AKA-102", "AKA-104", "AKA-115"):
    _refused(_rule, later=True)


@AZURE.drill("AKA-100")
def the_cluster_is_stopped(scene: Scene) -> Iterator[None]:
    known = scene.step(cluster).cluster
    scene.session.clusters.managed_clusters.begin_stop(known.group, known.name).result()
    yield


@AZURE.drill("AKA-103")
def other_machines_use_up_the_quota(scene: Scene) -> Iterator[None]:
    used = {name: quota.used for name, quota in quotas(scene.session).items() if quota.used and name != "cores"}
    ((name, limit),) = used.items()
    scene.cloud.control("POST", {"restriction": "quota", "name": name, "limit": limit})
    yield
    scene.serve()


@AZURE.drill("AKA-105")
def a_role_is_assigned_to_nobody(scene: Scene) -> Iterator[None]:
    """Entra does not know the principal, as it does not know a new one for a while."""
    step1, name = scene.step(cluster), str(uuid.uuid4())
    reader = "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"

    def assign(principal: str, kind: str) -> None:
        properties: Any = {"roleDefinitionId": reader, "principalId": principal, "principalType": kind}
        scene.session.authorization.role_assignments.create(step1.group.id, name, {"properties": properties})

    with suppress(HttpResponseError):
        assign(str(uuid.uuid4()), "Group")
    yield
    assign(step1.developers.object_id, "Group")
    scene.session.authorization.role_assignments.delete(step1.group.id, name)


@AZURE.drill("AKA-106")
def the_vault_is_deleted(scene: Scene) -> Iterator[None]:
    vault = scene.step(key_vault).vault
    scene.session.vaults.vaults.delete(vault.group, vault.name)
    yield


def _asked_for(rule: str, what: str, ask: Callable[[Scene, str], Any], give_up: Callable[[Scene, str], Any]) -> Act:
    """Somebody asks for a resource that Azure does not make any more; what was asked for is given up."""

    def act(scene: Scene) -> Iterator[None]:
        name = f"airflow-{uuid.uuid4().hex[:8]}"
        with suppress(HttpResponseError):
            ask(scene, name)
        yield
        give_up(scene, name)

    act.__name__ = what
    return AZURE.drill(rule)(act)


def _ask_for_a_classic_cache(scene: Scene, name: str) -> None:
    wanted: Any = {
        "location": scene.session.environment.location,
        "properties": {"sku": {"name": "Standard", "family": "C", "capacity": 1}},
    }
    scene.session.redis.redis.begin_create(scene.session.environment.resource_group, name, wanted).result()


def _ask_for_redis_enterprise(scene: Scene, name: str) -> None:
    wanted: Any = {"location": scene.session.environment.location, "sku": {"name": "Enterprise_E10", "capacity": 2}}
    caches = scene.session.managed_redis.redis_enterprise
    caches.begin_create(scene.session.environment.resource_group, name, wanted).result()


_asked_for(
    "AKA-107",
    "a_classic_cache_is_asked_for",
    _ask_for_a_classic_cache,
    lambda scene, name: scene.session.redis.redis.begin_delete(scene.session.environment.resource_group, name).result(),
)
_asked_for(
    "AKA-108",
    "redis_enterprise_is_asked_for",
    _ask_for_redis_enterprise,
    lambda scene, name: scene.session.managed_redis.redis_enterprise.begin_delete(
        scene.session.environment.resource_group, name
    ).result(),
)


@AZURE.drill("AKA-109")
def a_registry_is_to_have_a_name_that_is_taken(scene: Scene) -> Iterator[None]:
    name, group = f"taken{uuid.uuid4().hex[:8]}", f"others-{uuid.uuid4().hex[:8]}"
    session, location = scene.session, scene.session.environment.location
    wanted: Any = {"location": location, "sku": {"name": "Basic"}}
    session.resources.resource_groups.create_or_update(group, {"location": location})
    session.registries.registries.begin_create(group, name, wanted).result()
    with suppress(HttpResponseError):
        session.registries.registries.begin_create(session.environment.resource_group, name, wanted).result()
    yield
    session.registries.registries.begin_delete(session.environment.resource_group, name).result()
    session.resources.resource_groups.begin_delete(group).result()


@AZURE.drill("AKA-116")
def developers_lose_their_role(scene: Scene) -> Iterator[None]:
    scene.session.authorization.role_assignments.delete_by_id(scene.step(cluster).access.id)
    yield
    cluster.access(scene.session)


@AZURE.drill("AKA-117", proof=registry)
def the_registry_gets_an_admin_user(scene: Scene) -> Iterator[None]:
    known = scene.step(registry).registry
    parameters: Any = {"properties": {"adminUserEnabled": True}}
    scene.session.registries.registries.begin_update(known.group, known.name, parameters).result()
    yield
    registry.registry(scene.session)


@AZURE.drill("AKA-118")
def a_version_is_asked_for_that_is_not_offered(scene: Scene) -> Iterator[None]:
    known = scene.step(cluster).cluster
    facts = known.kept(known.refresh())
    with suppress(HttpResponseError):
        known.put({**facts, "properties": {**facts["properties"], "kubernetesVersion": "1.10.0"}})
    yield
    _update_cluster(scene)


@AZURE.drill("AKA-120")
def this_machine_is_behind(scene: Scene) -> Iterator[None]:
    scene.cloud.control("POST", {"restriction": "clock", "limit": 240})
    yield
    scene.serve()


@AZURE.drill("AKA-119")
def somebody_asks_too_much(scene: Scene) -> Iterator[None]:
    text = "Number of 'read' requests for principal 'aaaaaaaa' exceeded the limit of '250'. Please try again later."
    scene.refuse(methods=["GET"], host="management", status=429, code="SubscriptionRequestsThrottled", message=text)
    with suppress(AzureError):
        scene.step(cluster).cluster.refresh()
    yield
    scene.serve()


@AZURE.drill("AKA-121", also=("AKA-115", "AKA-117"), by_hand=True)
def an_upgrade_stops_at_a_pod_that_does_not_end(scene: Scene) -> Iterator[None]:
    """Somebody's pod, on nodes that wait less than step 1 has them."""
    pools, settings = scene.session.clusters.agent_pools, scene.session.environment
    place = (settings.resource_group, settings.cluster.name, settings.cluster.node_pool.name)
    pool: Any = pools.get(*place)
    pool.properties.node_image_version, pool.properties.upgrade_settings.drain_timeout_in_minutes = None, 5
    pools.begin_create_or_update(*place, pool).result()
    container = {"name": "main", "image": "docker.io/library/busybox"}
    container["command"] = ["sh", "-c", "trap 'sleep 600' TERM; sleep 600 & wait"]
    container["resources"] = {"limits": {"memory": "64Mi"}}
    spec = hardened(containers=[container], terminationGracePeriodSeconds=36_000)
    pod = Reference("v1", "Pod", "somebodys", NAMESPACE)
    metadata = {"name": pod.name, "namespace": NAMESPACE}
    scene.kube.create({"apiVersion": pod.api_version, "kind": pod.kind, "metadata": metadata, "spec": spec})
    wait_until(lambda: is_ready(scene.kube.get(pod) or {}), bool, SEEN_SECONDS, longest_pause=1)
    with suppress(HttpResponseError):
        pools.begin_upgrade_node_image_version(*place).result()
    yield
    scene.kube.delete(pod, grace_seconds=0)
    cluster.cluster(open_session("local"))
    pools.begin_upgrade_node_image_version(*place).result()
