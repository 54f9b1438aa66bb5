"""An update changes what differs and nothing else: what others added to a resource is still there afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.azure.arm import _part, merge
from airflowaks.azure.entra import Group, GroupMembers
from airflowaks.azure.identities import ManagedIdentity
from airflowaks.azure.key_vault import Vault
from airflowaks.azure.kubernetes_service import ManagedCluster
from airflowaks.azure.postgresql import FlexibleServer
from airflowaks.azure.redis import RedisCluster
from airflowaks.azure.registry import ContainerRegistry
from airflowaks.cloud.routes import Direct
from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.azure.arm import ArmResource
    from airflowaks.azure.subscription import ResourceGroup
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

# readOnly in Microsoft's OpenAPI files of these types, but for nodeImageVersion, which rolls a node pool back.
READ_ONLY = {
    "id",
    "systemData",
    "provisioningState",
    "nodeImageVersion",
    "currentOrchestratorVersion",
    "currentKubernetesVersion",
    "eTag",
    "fqdn",
    "azurePortalFQDN",
    "maxAgentPools",
    "resourceUID",
    "issuerURL",
    "effectiveOutboundIPs",
    "principalId",
    "loginServer",
    "creationDate",
    "lastUpdatedTime",
    "dataEndpointHostNames",
    "privateEndpointConnections",
    "hostName",
    "resourceState",
    "redundancyMode",
    "redisVersion",
    "hsmPoolResourceId",
    "fullyQualifiedDomainName",
    "minorVersion",
}
OTHERS = {"cost-center": "4711"}


def identity(group: ResourceGroup) -> ArmResource:
    return ManagedIdentity(group.session, "identity", parent=group)


def registry(group: ResourceGroup) -> ArmResource:
    return ContainerRegistry(group.session, group.session.environment.registry.name, parent=group)


def vault(group: ResourceGroup) -> ArmResource:
    return Vault(group.session, group.session.environment.key_vault.name, parent=group)


def redis(group: ResourceGroup) -> ArmResource:
    settings: Any = group.session.environment.broker
    return RedisCluster(group.session, settings, parent=group)


def server(group: ResourceGroup) -> ArmResource:
    return FlexibleServer(group.session, parent=group, route=Direct())


def cluster(group: ResourceGroup) -> ArmResource:
    session = group.session
    admins = Group(session, f"{group.name}-admins", "a test's")
    acts_as = ManagedIdentity(session, "cluster", parent=group)
    converge(session, admins, acts_as)
    return ManagedCluster(session, identity=acts_as, admins=admins, depends_on=(group,))


@pytest.mark.parametrize("make", [identity, registry, vault, redis, server, cluster])
def test_tags_of_others_survive(group: ResourceGroup, make: Callable[[ResourceGroup], ArmResource]) -> None:
    resource = make(group)
    converge(group.session, resource)
    as_wanted = merge(resource.kept(resource.facts), resource.desired())
    resource.put(merge(as_wanted, {"tags": {**OTHERS, "environment": "changed by others"}}))
    (change,) = converge(group.session, resource)
    assert change.action is Action.UPDATE
    assert [(one.path, one.before) for one in change.differences] == [("tags.environment", "changed by others")]
    assert resource.fact("tags") == {**OTHERS, **resource.desired()["tags"]}


@pytest.mark.parametrize("make", [identity, registry, vault, redis, server, cluster])
def test_nothing_that_the_service_decides_goes_back(
    group: ResourceGroup, make: Callable[[ResourceGroup], ArmResource]
) -> None:
    resource = make(group)
    converge(group.session, resource)
    assert not names_in(body_of_an_update(resource)) & READ_ONLY


def test_zones_of_a_redis_are_azures(group: ResourceGroup, rehearsal: Rehearsal) -> None:
    converge(group.session, redis(group))
    zones = {"zones": ["1", "2", "3"], "tags": {"environment": "changed by others"}}
    rehearsal.control("POST", {"methods": ["GET"], "path": "redisEnterprise/[^/]+$", "edit": zones})
    (change,) = converge(group.session, redis(group))
    rehearsal.control("DELETE")
    assert [one.path for one in change.differences] == ["tags.environment"]


def body_of_an_update(resource: ArmResource) -> dict[str, Any]:
    """What an update of the resource as it is would send."""
    desired = resource.desired()
    return merge(resource.kept(resource.facts), desired) | (
        {"identity": desired["identity"]} if "identity" in desired else {}
    )


def names_in(value: Any) -> set[str]:
    """The names of a body's properties, at any depth."""
    if isinstance(value, dict):
        return set(value) | {name for inner in value.values() for name in names_in(inner)}
    return {name for inner in value for name in names_in(inner)} if isinstance(value, list) else set()


def test_only_what_is_writable_is_kept_of_lists_and_of_any_key() -> None:
    facts = {
        "pools": [{"name": "a", "image": 1}, {"image": 2}],
        "identity": {"ids": {"x": {"principalId": 1}}},
        "a": None,
    }
    assert _part(facts, ("pools[].name", "identity.ids.*.{}", "a.b", "missing.c")) == {
        "pools": [{"name": "a"}, {}],
        "identity": {"ids": {"x": {}}},
        "a": None,
    }


def test_a_tag_is_changed_as_others_spell_it(group: ResourceGroup) -> None:
    mark = {"AirflowAKS": group.session.environment.mark}
    tags = {"Environment": "theirs", "MANAGED-BY": "airflowaks", **mark}
    group.session.resources.resource_groups.create_or_update(group.name, {"location": "westeurope", "tags": tags})
    (change,) = converge(group.session, group)
    assert [(one.path, one.before) for one in change.differences] == [("tags.environment", "theirs")]
    wanted = group.session.environment.tags
    assert group.fact("tags") == {"Environment": wanted["environment"], "MANAGED-BY": wanted["managed-by"], **mark}


def test_node_pools_and_add_ons_of_others_survive(group: ResourceGroup) -> None:
    resource = cluster(group)
    converge(group.session, resource)
    changed = body_of_an_update(resource)
    properties = changed["properties"]
    properties["disableLocalAccounts"] = False
    properties["addonProfiles"]["azurepolicy"] = {"enabled": True}
    properties["autoScalerProfile"] = {"expander": "least-waste"}
    gpu = {
        "mode": "User",
        "nodeLabels": {"team": "vision"},
        "vmSize": "Standard_NC6s_v3",
        "count": 1,
        "osType": "Linux",
    }
    resource.put(changed)
    pools = resource.session.clusters.agent_pools
    pools.begin_create_or_update(
        resource.group, resource.name, "gpu", {"properties": {**gpu, "type": "VirtualMachineScaleSets"}}
    ).result()
    (change,) = converge(group.session, resource)
    assert [one.path for one in change.differences] == ["properties.disableLocalAccounts"]
    assert resource.fact("properties.addonProfiles.azurepolicy.enabled") is True
    assert resource.fact("properties.autoScalerProfile.expander") == "least-waste"
    profiles = {pool["name"]: pool for pool in resource.fact("properties.agentPoolProfiles")}
    assert profiles.keys() == {"airflow", "gpu"}
    assert gpu.items() <= profiles["gpu"].items()


@pytest.mark.broad
def test_members_on_later_pages_are_members(group: ResourceGroup) -> None:
    session = group.session
    members = Group(session, f"{group.name}-members", "a test's")
    inner = [Group(session, f"{group.name}-{number}", "a test's") for number in range(101)]
    converge(session, members, *inner)
    ids = [one.id for one in inner]
    (added,) = converge(session, GroupMembers(members, ids))
    assert added.action == Action.UPDATE
    (again,) = converge(session, GroupMembers(members, ids))
    assert again.action == Action.NONE
