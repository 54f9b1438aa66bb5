"""Managed clusters, through azure-mgmt-containerservice."""

from __future__ import annotations

import base64
import re
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.resource.resources import ResourceManagementClient

from rehearsal_cloud.home import TENANT_ID
from tests.support.rehearsal import kill_rehearsal, reset_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from azure.core.credentials import TokenCredential
    from azure.mgmt.containerservice.models import ManagedCluster

    from tests.support.azure_requests import Grant, Newcomer, Sender
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

SPOT = {"scaleSetPriority": "Spot"}
GRAPH = "https://graph.microsoft.com/v1.0"


@pytest.fixture(scope="module")
def aks(
    rehearsal: Rehearsal, operator: TokenCredential, resources: ResourceManagementClient
) -> Iterator[ContainerServiceClient]:
    resources.providers.register("Microsoft.ContainerService")
    with ContainerServiceClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        yield client


def pool(name: str = "system", **changes: Any) -> dict[str, Any]:
    return {"name": name, "mode": "System", "count": 1, "vmSize": "Standard_D4s_v5", "osType": "Linux", **changes}


def wanted(**changes: Any) -> Any:
    """A cluster as the runbook asks for it, with changes to its properties; None leaves one out."""
    properties = {
        "dnsPrefix": "airflow",
        "kubernetesVersion": "1.35",
        "agentPoolProfiles": [pool()],
        "aadProfile": {"managed": True, "enableAzureRBAC": True},
        "disableLocalAccounts": True,
        "oidcIssuerProfile": {"enabled": True},
        "securityProfile": {"workloadIdentity": {"enabled": True}},
        "addonProfiles": {"azureKeyvaultSecretsProvider": {"enabled": True}},
        "workloadAutoScalerProfile": {"keda": {"enabled": True}},
        **changes,
    }
    return {
        "location": "westeurope",
        "sku": {"name": "Base", "tier": "Standard"},
        "identity": {"type": "SystemAssigned"},
        "properties": {key: value for key, value in properties.items() if value is not None},
    }


@pytest.fixture
def cluster(aks: ContainerServiceClient, group: str) -> ManagedCluster:
    made = aks.managed_clusters.begin_create_or_update(group, "airflow", wanted()).result()
    made.properties.agent_pool_profiles[0].node_image_version = None  # setting it rolls the pool back
    return made


@pytest.fixture(scope="module")
def standing(aks: ContainerServiceClient, resources: ResourceManagementClient) -> ManagedCluster:
    """A cluster for the tests that leave it as it is."""
    resources.resource_groups.create_or_update("standing", {"location": "westeurope"})
    return aks.managed_clusters.begin_create_or_update("standing", "airflow", wanted()).result()


def cluster_path(rehearsal: Rehearsal, group: str) -> str:
    scope = f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}"
    return f"{scope}/providers/Microsoft.ContainerService/managedClusters/airflow?api-version=2025-10-01"


# A cluster and what comes with it


def test_a_cluster_has_all_that_the_runbook_reads(standing: ManagedCluster) -> None:
    properties = standing.properties
    issuer = f"https://westeurope.oic.prod-aks.azure.com/{TENANT_ID}/"
    assert properties.provisioning_state == "Succeeded"
    assert properties.service_principal_profile.client_id == "msi"
    assert properties.node_resource_group == "MC_standing_airflow_westeurope"
    assert properties.oidc_issuer_profile.issuer_url.startswith(issuer)
    assert properties.fqdn.startswith("airflow-")
    assert properties.fqdn.endswith(".hcp.westeurope.azmk8s.io")
    assert (properties.kubernetes_version, properties.current_kubernetes_version) == ("1.35", "1.35.3")
    assert properties.power_state.code == "Running"
    assert properties.network_profile.network_plugin_mode == "overlay"
    assert properties.network_profile.pod_cidr == "10.244.0.0/16"
    assert properties.workload_auto_scaler_profile.keda.enabled
    assert properties.aad_profile.tenant_id == TENANT_ID
    (profile,) = properties.agent_pool_profiles
    assert (profile.name, profile.mode, profile.provisioning_state) == ("system", "System", "Succeeded")


def test_creating_answers_201_and_updating_200(
    rehearsal: Rehearsal, aks: ContainerServiceClient, send: Sender, group: str
) -> None:
    del aks  # it has registered the provider
    path = cluster_path(rehearsal, group)
    made = send("PUT", path, wanted())
    assert made.status_code == 201
    assert made.json()["properties"]["provisioningState"] == "Creating"
    assert made.headers["Azure-AsyncOperation"]
    assert int(made.headers["x-ms-retry-after-ms"]) >= 50
    settle(send, path)
    changed = send("PUT", path, send("GET", path).json())
    assert (changed.status_code, changed.json()["properties"]["provisioningState"]) == (200, "Updating")


def settle(send: Sender, path: str) -> None:
    deadline = time.monotonic() + 60
    while send("GET", path).json()["properties"]["provisioningState"] != "Succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_kubelet_and_add_on_have_real_identities(
    cluster: ManagedCluster, resources: ResourceManagementClient, send: Sender, grant: Grant
) -> None:
    kubelet = cluster.properties.identity_profile["kubeletidentity"]
    addon = cluster.properties.addon_profiles["azureKeyvaultSecretsProvider"].identity
    node_group = cluster.properties.node_resource_group
    names = {one.name for one in resources.resources.list_by_resource_group(node_group)}
    assert {"airflow-agentpool", "azurekeyvaultsecretsprovider-airflow"} < names
    for identity in (kubelet, addon):
        known = send("GET", f"{identity.resource_id}?api-version=2024-11-30").json()["properties"]
        assert (known["clientId"], known["principalId"]) == (identity.client_id, identity.object_id)
        assert send("GET", f"{GRAPH}/servicePrincipals/{identity.object_id}").status_code == 200
    assert resources.resource_groups.get(node_group).managed_by == cluster.id
    grant(cluster.id, "Reader", kubelet.object_id)


def test_everything_goes_with_the_cluster(
    cluster: ManagedCluster, aks: ContainerServiceClient, resources: ResourceManagementClient, send: Sender, group: str
) -> None:
    own = cluster.identity.principal_id
    kubelet = cluster.properties.identity_profile["kubeletidentity"].object_id
    issuer = cluster.properties.oidc_issuer_profile.issuer_url
    assert send("GET", f"{issuer}.well-known/openid-configuration", scope="").json()["issuer"] == issuer
    (key,) = send("GET", f"{issuer}openid/v1/jwks", scope="").json()["keys"]
    assert key["alg"] == "RS256"
    aks.managed_clusters.begin_delete(group, "airflow").result()
    with pytest.raises(ResourceNotFoundError):
        aks.managed_clusters.get(group, "airflow")
    assert not resources.resource_groups.check_existence(cluster.properties.node_resource_group)
    for principal in (own, kubelet):
        assert send("GET", f"{GRAPH}/servicePrincipals/{principal}").status_code == 404
    assert send("GET", f"{issuer}.well-known/openid-configuration", scope="").status_code == 404


def test_deleting_its_group_takes_the_node_group_along(
    cluster: ManagedCluster, resources: ResourceManagementClient, group: str
) -> None:
    resources.resource_groups.begin_delete(group).result()
    assert not resources.resource_groups.check_existence(cluster.properties.node_resource_group)


def test_a_user_assigned_identity_must_exist_and_is_shown_with_its_ids(
    rehearsal: Rehearsal, aks: ContainerServiceClient, send: Sender, group: str
) -> None:
    scope = f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}"
    identity = f"{scope}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/airflow"
    body = {**wanted(), "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}}
    with pytest.raises(HttpResponseError, match="was not found") as refused:
        aks.managed_clusters.begin_create_or_update(group, "airflow", body)
    assert (refused.value.status_code, refused.value.error.code) == (400, "FailedIdentityOperation")
    made = send("PUT", f"{identity}?api-version=2024-11-30", {"location": "westeurope"}).json()["properties"]
    cluster = aks.managed_clusters.begin_create_or_update(group, "airflow", body).result()
    shown = cluster.identity.user_assigned_identities[identity]
    assert (shown.client_id, shown.principal_id) == (made["clientId"], made["principalId"])


def test_assigning_an_identity_takes_a_role_on_it(
    rehearsal: Rehearsal,
    aks: ContainerServiceClient,
    resources: ResourceManagementClient,
    send: Sender,
    group_name: str,
    newcomer: Newcomer,
    grant: Grant,
) -> None:
    del aks
    identities = resources.resource_groups.create_or_update(f"{group_name}-identities", {"location": "westeurope"})
    clusters = resources.resource_groups.create_or_update(group_name, {"location": "westeurope"})
    identity = f"{identities.id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/airflow"
    send("PUT", f"{identity}?api-version=2024-11-30", {"location": "westeurope"})
    body = {**wanted(), "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}}
    path = cluster_path(rehearsal, group_name)
    grant(clusters.id, "Contributor", newcomer.object_id)
    refused = send("PUT", path, body, credential=newcomer.credential)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "LinkedAuthorizationFailed")
    grant(identity, "Managed Identity Operator", newcomer.object_id)
    assert send("PUT", path, body, credential=newcomer.credential).status_code == 201


def test_a_disabled_add_on_loses_its_identity(
    cluster: ManagedCluster, aks: ContainerServiceClient, send: Sender, group: str
) -> None:
    identity = cluster.properties.addon_profiles["azureKeyvaultSecretsProvider"].identity
    cluster.properties.addon_profiles["azureKeyvaultSecretsProvider"].enabled = False
    changed = aks.managed_clusters.begin_create_or_update(group, "airflow", cluster).result()
    assert changed.properties.addon_profiles["azureKeyvaultSecretsProvider"].identity is None
    assert send("GET", f"{GRAPH}/servicePrincipals/{identity.object_id}").status_code == 404


# Updates


def test_what_aks_does_not_know_survives_get_and_put(
    rehearsal: Rehearsal, cluster: ManagedCluster, send: Sender, group: str
) -> None:
    path = cluster_path(rehearsal, group)
    body = send("GET", path).json()
    body["properties"]["futureProfile"] = {"enabled": True}
    body["properties"]["agentPoolProfiles"][0]["futureKnob"] = 7
    assert send("PUT", path, body).status_code == 200
    settle(send, path)
    after = send("GET", path).json()["properties"]
    assert after["futureProfile"] == {"enabled": True}
    assert after["agentPoolProfiles"][0]["futureKnob"] == 7
    for name in ("fqdn", "identityProfile", "oidcIssuerProfile", "networkProfile", "nodeResourceGroup"):
        assert after[name] == send("GET", path).json()["properties"][name] == body["properties"][name]
    assert after["fqdn"] == cluster.properties.fqdn


def test_a_partial_update_leaves_the_rest(cluster: ManagedCluster, aks: ContainerServiceClient, group: str) -> None:
    body = wanted(addonProfiles=None, workloadAutoScalerProfile=None)
    changed = aks.managed_clusters.begin_create_or_update(group, "airflow", body).result()
    assert changed.properties.workload_auto_scaler_profile.keda.enabled
    assert changed.properties.addon_profiles["azureKeyvaultSecretsProvider"].identity
    assert changed.properties.oidc_issuer_profile == cluster.properties.oidc_issuer_profile
    assert changed.system_data.created_at == cluster.system_data.created_at


def test_tags_change_alone(cluster: ManagedCluster, aks: ContainerServiceClient, group: str) -> None:
    changed = aks.managed_clusters.begin_update_tags(group, "airflow", {"tags": {"team": "data"}}).result()
    assert changed.tags == {"team": "data"}
    assert changed.properties.identity_profile == cluster.properties.identity_profile


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("dnsPrefix", {"dnsPrefix": "other"}),
        ("nodeResourceGroup", {"nodeResourceGroup": "other"}),
        ("enableRBAC", {"enableRBAC": False}),
        ("networkProfile.networkPlugin", {"networkProfile": {"networkPlugin": "kubenet"}}),
        ("networkProfile.podCidr", {"networkProfile": {"podCidr": "10.1.0.0/16"}}),
        ("properties.vmSize", {"agentPoolProfiles": [pool(vmSize="Standard_D8s_v5")]}),
    ],
)
def test_what_cannot_change_is_refused(
    standing: ManagedCluster, aks: ContainerServiceClient, name: str, change: dict[str, Any]
) -> None:
    with pytest.raises(HttpResponseError, match=f"Changing property '{name}' is not allowed") as refused:
        aks.managed_clusters.begin_create_or_update("standing", standing.name, wanted(**change))
    assert (refused.value.status_code, refused.value.error.code) == (400, "PropertyChangeNotAllowed")


def test_a_pool_joins_a_cluster_by_its_own_operation_alone(
    cluster: ManagedCluster, aks: ContainerServiceClient, group: str
) -> None:
    more = wanted(agentPoolProfiles=[pool(), pool("spot", mode="User", **SPOT)])
    with pytest.raises(HttpResponseError, match="please use per agent pool operations") as refused:
        aks.managed_clusters.begin_create_or_update(group, cluster.name, more)
    assert (refused.value.status_code, refused.value.error.code) == (400, "BadRequest")
    made = _put_pool(aks, group, "spot", mode="User", **SPOT).properties
    assert (made.scale_set_eviction_policy, made.spot_max_price, made.upgrade_settings.max_surge) == (
        "Delete",
        -1,
        None,
    )
    assert made.node_labels == {"kubernetes.azure.com/scalesetpriority": "spot"}
    assert made.node_taints == ["kubernetes.azure.com/scalesetpriority=spot:NoSchedule"]
    assert aks.managed_clusters.begin_create_or_update(group, cluster.name, wanted()).result()  # without the new pool
    usages = {each.name: each for each in aks.managed_clusters.get(group, cluster.name).properties.agent_pool_profiles}
    assert usages["spot"].scale_set_priority == "Spot"
    for change, text in ((None, "ScaleSetPriority is immutable. Provided value is Regular"), (0.5, "spotMaxPrice is")):
        priority = SPOT | {"spotMaxPrice": change} if change else {}
        with pytest.raises(HttpResponseError, match=text):
            _put_pool(aks, group, "spot", mode="User", **priority)


def test_a_system_pool_may_become_a_user_pool_where_another_one_stays(
    cluster: ManagedCluster, aks: ContainerServiceClient, group: str
) -> None:
    del cluster
    with pytest.raises(HttpResponseError, match="Must define at least one system pool"):
        _put_pool(aks, group, "system", mode="User")
    _put_pool(aks, group, "second", nodeTaints=["CriticalAddonsOnly=true:NoSchedule"])
    assert _put_pool(aks, group, "system", mode="User").properties.mode == "User"


def _put_pool(aks: ContainerServiceClient, group: str, name: str, **changes: Any) -> Any:
    properties = {key: value for key, value in pool(name, **changes).items() if key != "name"}
    return aks.agent_pools.begin_create_or_update(group, "airflow", name, {"properties": properties}).result()


def test_the_issuer_stays(standing: ManagedCluster, aks: ContainerServiceClient) -> None:
    body = wanted(oidcIssuerProfile={"enabled": False})
    with pytest.raises(HttpResponseError, match="OIDC issuer feature cannot be disabled") as refused:
        aks.managed_clusters.begin_create_or_update("standing", standing.name, body)
    assert refused.value.error.code == "OIDCIssuerFeatureCannotBeDisabled"


def test_secrets_that_a_client_sends_are_not_answered(
    rehearsal: Rehearsal, aks: ContainerServiceClient, send: Sender, group: str
) -> None:
    del aks
    account = {"adminUsername": "azureuser", "adminPassword": "Sesame-1234567890"}
    principal = {"clientId": "33333333-3333-4333-8333-333333333333", "secret": "Sesame-1234567890"}
    path = cluster_path(rehearsal, group)
    made = send("PUT", path, wanted(windowsProfile=account, servicePrincipalProfile=principal))
    assert made.status_code == 201
    assert made.json()["properties"]["windowsProfile"]["adminUsername"] == "azureuser"
    assert "Sesame" not in made.text() + send("GET", path).text()


# What a new cluster is refused


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"agentPoolProfiles": None}, "InvalidParameter", "Required parameter agentPoolProfiles is missing"),
        ({"dnsPrefix": None}, "InvalidParameter", "Required parameter dnsPrefix is missing"),
        ({"dnsPrefix": "-airflow"}, "InvalidParameter", "parameter dnsPrefix is invalid"),
        ({"kubernetesVersion": "1.28.9"}, "K8sVersionNotSupported", "is on version 1.28.9 which is not supported"),
        (
            {"oidcIssuerProfile": {"enabled": False}},
            "BadRequest",
            "Azure AD Workload Identity requires OIDC issuer",
        ),
        ({"kubernetesVersion": "1.33"}, "K8sVersionNotSupported", "only available for Long-Term Support"),
        ({"supportPlan": "AKSLongTermSupport"}, "BadRequest", "only available for Premium tier clusters"),
        ({"supportPlan": "Forever"}, "InvalidParameter", "one of KubernetesOfficial and AKSLongTermSupport"),
        ({"agentPoolProfiles": [pool(mode="User")]}, "MustDefineAtLeastOneSystemPool", "at least one system pool"),
        (
            {"agentPoolProfiles": [pool(nodeTaints=["team=data:NoSchedule"])]},
            "SystemPoolHasRestrictedTaint",
            "except 'CriticalAddonsOnly' taint or taint effect is 'PreferNoSchedule'",
        ),
        (
            {"agentPoolProfiles": [pool(scaleSetPriority="Spot")]},
            "InvalidParameter",
            "agentPoolProfile.mode is invalid. Error details: a spot pool cannot be a system pool.",
        ),
        (
            {"agentPoolProfiles": [pool(), pool("spot", mode="User", **SPOT, upgradeSettings={"maxSurge": "10%"})]},
            "InvalidParameter",
            "Spot pools can't set max surge.",
        ),
        ({"agentPoolProfiles": [pool(count=0)]}, "InvalidParameter", "must be between 1 and 1000"),
        ({"agentPoolProfiles": [pool(vmSize="huge")]}, "BadRequest", "VM size of AgentPoolProfile:system"),
        ({"agentPoolProfiles": [pool(vmSize="Standard_DS1_v2")]}, "SystemPoolSkuTooLow", "Nodepool name: system."),
        ({"agentPoolProfiles": [pool(vmSize="Standard_B2ts_v2")]}, "SystemPoolSkuTooLow", "Nodepool name: system."),
        (
            {"agentPoolProfiles": [pool(osDiskType="Ephemeral")]},
            "VMSizeDoesNotSupportEphemeralOS",
            "Standard_D4s_v5 does not support Ephemeral OS disk",
        ),
        (
            {"agentPoolProfiles": [pool(vmSize="Standard_D2ds_v5", osDiskType="Ephemeral")]},
            "VMTemporaryDiskTooSmall",
            "has a temp disk size of 80530636800 bytes, but the OS disk requires 137438953472 bytes",
        ),
        ({"agentPoolProfiles": [pool("System1")]}, "InvalidParameter", "must start with a lowercase letter"),
        ({"agentPoolProfiles": [pool("a" * 13)]}, "InvalidParameter", "max length of 12"),
        ({"agentPoolProfiles": [pool(orchestratorVersion="1.2.3")]}, "AgentPoolK8sVersionNotSupported", "1.2.3"),
        ({"agentPoolProfiles": [pool(enableAutoScaling=True)]}, "InvalidParameter", "minCount is missing"),
        (
            {"agentPoolProfiles": [pool(enableAutoScaling=True, minCount=5, maxCount=3)]},
            "InvalidParameter",
            "minCount must not be more",
        ),
        *(
            ({"networkProfile": {name: cidr}}, "InvalidParameter", f"networkProfile.{name} is invalid")
            for name in ("podCidr", "serviceCidr")
            for cidr in ("172.31.0.0/16", "169.254.10.0/24", "0.0.0.0/0", "10.0.0.0/33", "10.0.0.1/16", "fd00::/64")
        ),
        ({"networkProfile": {"dnsServiceIP": "10.1.0.10"}}, "InvalidParameter", "belong to the range 10.0.0.0/16"),
        ({"networkProfile": {"dnsServiceIP": "dns"}}, "InvalidParameter", "'dns' is not an IPv4 address"),
    ],
)
def test_a_cluster_that_breaks_a_rule_is_refused(
    aks: ContainerServiceClient, group: str, change: dict[str, Any], code: str, text: str
) -> None:
    with pytest.raises(HttpResponseError, match=text) as refused:
        aks.managed_clusters.begin_create_or_update(group, "airflow", wanted(**change))
    assert (refused.value.status_code, refused.value.error.code) == (400, code)


@pytest.mark.parametrize(
    ("restriction", "code", "text"),
    [
        ({"restriction": "size", "name": "Standard_D4s_v5"}, "BadRequest", "is not allowed in your subscription"),
        (
            {"restriction": "size", "name": "Standard_D4s_v5", "zones": ["2"]},
            "AvailabilityZoneNotSupported",
            "The supported zones for location 'westeurope' are '1,3'",
        ),
        (
            {"restriction": "quota", "name": "standardDSv5Family", "limit": 3},
            "ErrCode_InsufficientVCPUQuota",
            "requested 4, remaining",
        ),
        ({"restriction": "version", "name": "Kubernetes 1.35"}, "K8sVersionNotSupported", "which is not supported"),
    ],
)
def test_what_the_subscription_may_not_have_is_refused(
    rehearsal: Rehearsal, aks: ContainerServiceClient, group: str, restriction: dict[str, Any], code: str, text: str
) -> None:
    body = wanted(agentPoolProfiles=[pool(availabilityZones=["1", "2"])])
    rehearsal.control("POST", restriction)
    try:
        with pytest.raises(HttpResponseError, match=text) as refused:
            aks.managed_clusters.begin_create_or_update(group, "airflow", body)
    finally:
        rehearsal.control("DELETE")
    assert refused.value.error.code == code


@pytest.mark.parametrize("name", ["-airflow", "airflow_", "a" * 64])
def test_a_name_that_breaks_the_rule_is_refused(aks: ContainerServiceClient, group: str, name: str) -> None:
    with pytest.raises(HttpResponseError, match="parameter resourceName is invalid"):
        aks.managed_clusters.begin_create_or_update(group, name, wanted())


def test_an_issuer_comes_by_default_since_1_34(aks: ContainerServiceClient, group: str) -> None:
    plan = {"supportPlan": "AKSLongTermSupport"}
    for version, enabled in (("1.33", False), ("1.34", True)):
        body = wanted(oidcIssuerProfile=None, securityProfile=None, kubernetesVersion=version, **plan)
        body["sku"]["tier"] = "Premium"
        made = aks.managed_clusters.begin_create_or_update(group, f"v{version[-2:]}", body).result()
        assert made.properties.oidc_issuer_profile.enabled is enabled


def test_versions_are_those_that_a_cluster_may_have(aks: ContainerServiceClient, group: str) -> None:
    releases = aks.managed_clusters.list_kubernetes_versions("westeurope").values_property
    assert [one.version for one in releases if one.is_default] == ["1.35"]
    assert [one.version for one in releases] == ["1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]
    assert [one.capabilities.support_plan for one in releases[1:3]] == [
        ["AKSLongTermSupport"],
        ["KubernetesOfficial", "AKSLongTermSupport"],
    ]
    patch = min(releases[2].patch_versions)
    assert releases[2].patch_versions[patch].upgrades
    made = aks.managed_clusters.begin_create_or_update(group, "airflow", wanted(kubernetesVersion=patch)).result()
    assert made.properties.current_kubernetes_version == patch


# Agent pools


def test_a_pool_is_a_resource_and_is_shown_in_its_cluster(
    cluster: ManagedCluster, aks: ContainerServiceClient, group: str
) -> None:
    body: Any = {"properties": {**pool(mode="User", count=2), "nodeLabels": {"for": "workers"}}}
    made = aks.agent_pools.begin_create_or_update(group, "airflow", "workers", body).result()
    assert (made.properties.count, made.properties.provisioning_state) == (2, "Succeeded")
    assert made.properties.current_orchestrator_version == cluster.properties.current_kubernetes_version
    assert [one.name for one in aks.agent_pools.list(group, "airflow")] == ["system", "workers"]
    profiles = {one.name: one for one in aks.managed_clusters.get(group, "airflow").properties.agent_pool_profiles}
    assert profiles["workers"].node_labels == {"for": "workers"}
    assert profiles["workers"].provisioning_state == "Succeeded"

    made.properties.count, made.properties.node_image_version = 3, None
    aks.agent_pools.begin_create_or_update(group, "airflow", "workers", made).result()
    profiles = {one.name: one for one in aks.managed_clusters.get(group, "airflow").properties.agent_pool_profiles}
    assert profiles["workers"].count == 3

    cluster.properties.agent_pool_profiles[0].count = 2
    aks.managed_clusters.begin_create_or_update(group, "airflow", cluster).result()
    assert aks.agent_pools.get(group, "airflow", "system").properties.count == 2
    assert aks.agent_pools.get(group, "airflow", "workers").properties.count == 3

    aks.agent_pools.begin_delete(group, "airflow", "workers").result()
    shown = aks.managed_clusters.get(group, "airflow").properties.agent_pool_profiles
    assert [one.name for one in shown] == ["system"]


def test_long_term_support_is_a_plan_besides_the_tier(aks: ContainerServiceClient, group: str) -> None:
    premium = wanted() | {"sku": {"name": "Base", "tier": "Premium"}}
    made = aks.managed_clusters.begin_create_or_update(group, "airflow", premium).result()
    assert made.support_plan == "KubernetesOfficial"
    premium["properties"]["supportPlan"] = "AKSLongTermSupport"
    made = aks.managed_clusters.begin_create_or_update(group, "airflow", premium).result()
    assert made.support_plan == "AKSLongTermSupport"
    with pytest.raises(HttpResponseError, match="only available for Premium tier clusters"):
        aks.managed_clusters.begin_create_or_update(group, "airflow", wanted())


def test_a_size_is_picked_where_none_is_sent_and_stays(aks: ContainerServiceClient, group: str) -> None:
    unsized = wanted(agentPoolProfiles=[{"name": "system", "mode": "System", "count": 1}])
    made = aks.managed_clusters.begin_create_or_update(group, "airflow", unsized).result()
    assert [one.vm_size for one in made.agent_pool_profiles or []] == ["Standard_D4ds_v5"]
    workers = {"properties": {"count": 1, "vmSize": "Standard_D8s_v5"}}
    aks.agent_pools.begin_create_or_update(group, "airflow", "workers", workers).result()
    again = {"properties": {"count": 2, "vmSize": None}}
    assert (
        aks.agent_pools.begin_create_or_update(group, "airflow", "workers", again).result().vm_size == "Standard_D8s_v5"
    )
    assert aks.agent_pools.begin_create_or_update(group, "airflow", "others", {}).result().vm_size == "Standard_D4ds_v5"
    updated = aks.managed_clusters.begin_create_or_update(group, "airflow", unsized).result()
    sizes = {one.name: one.vm_size for one in updated.agent_pool_profiles or []}
    assert sizes == {"system": "Standard_D4ds_v5", "workers": "Standard_D8s_v5", "others": "Standard_D4ds_v5"}


def test_the_last_system_pool_stays(standing: ManagedCluster, aks: ContainerServiceClient) -> None:
    with pytest.raises(HttpResponseError, match="Must define at least one system pool"):
        aks.agent_pools.begin_delete("standing", standing.name, "system")
    with pytest.raises(HttpResponseError, match="Must define at least one system pool"):
        aks.agent_pools.begin_create_or_update("standing", standing.name, "system", {"properties": pool(mode="User")})


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("Workers", {}, "must start with a lowercase letter"),
        ("workers", {"vmSize": "huge"}, "VM size of AgentPoolProfile:workers is not allowed"),
        ("system", {"vmSize": "Standard_D8s_v5"}, "Changing property 'properties.vmSize' is not allowed"),
    ],
)
def test_a_pool_that_breaks_a_rule_is_refused(
    standing: ManagedCluster, aks: ContainerServiceClient, name: str, change: dict[str, Any], text: str
) -> None:
    with pytest.raises(HttpResponseError, match=text):
        aks.agent_pools.begin_create_or_update("standing", standing.name, name, {"properties": pool(**change)})


@pytest.mark.parametrize(
    ("api_version", "image", "status"),
    [
        ("2026-03-01", "AKSUbuntu-2204gen2containerd-202501.01.0", 200),
        ("2026-04-01", "AKSUbuntu-2204gen2containerd-202501.01.0", 400),
        ("2026-08-01", "AKSUbuntu-2204gen2containerd-202501.01.0", 400),
        ("2026-08-01", "", 200),  # the present one, as az sends it back
    ],
)
def test_another_node_image_rolls_back_since_2026_04(
    rehearsal: Rehearsal, standing: ManagedCluster, send: Sender, api_version: str, image: str, status: int
) -> None:
    del standing
    path = cluster_path(rehearsal, "standing").replace("2025-10-01", api_version)
    body = send("GET", path).json()
    pool = body["properties"]["agentPoolProfiles"][0]
    pool["nodeImageVersion"] = image or pool["nodeImageVersion"]
    answer = send("PUT", path, body)
    assert answer.status_code == status
    assert status == 200 or "only values from recentlyUsedVersions" in answer.json()["error"]["message"]
    settle(send, path)


def test_upgrade_profiles_name_newer_patches_and_the_next_release(
    standing: ManagedCluster, aks: ContainerServiceClient
) -> None:
    cluster = aks.managed_clusters.get_upgrade_profile("standing", standing.name)
    pool = aks.agent_pools.get_upgrade_profile("standing", standing.name, "system")
    assert cluster.control_plane_profile.kubernetes_version == pool.kubernetes_version == "1.35.3"
    for upgrades in (cluster.control_plane_profile.upgrades, pool.upgrades):
        assert [upgrade.kubernetes_version for upgrade in upgrades or []] == ["1.36.0", "1.36.1"]
    assert (pool.latest_node_image_version or "").startswith("AKSUbuntu-")
    versions = aks.agent_pools.get_available_agent_pool_versions("standing", standing.name).agent_pool_versions or []
    assert [version.kubernetes_version for version in versions if version.default] == ["1.35.3"]
    assert "1.36.0" not in [version.kubernetes_version for version in versions]


def test_a_pool_gets_the_newest_node_image(
    rehearsal: Rehearsal, standing: ManagedCluster, aks: ContainerServiceClient
) -> None:
    def images() -> tuple[str, str]:
        pool = aks.agent_pools.get("standing", standing.name, "system")
        profile = aks.agent_pools.get_upgrade_profile("standing", standing.name, "system")
        return str(pool.node_image_version), str(profile.latest_node_image_version)

    here, newest = images()
    assert here == newest
    rehearsal.control("POST", {"restriction": "node-image", "name": "202612.01.0"})
    try:
        assert images() == (here, "AKSUbuntu-2204gen2containerd-202612.01.0")
        aks.agent_pools.begin_upgrade_node_image_version("standing", standing.name, "system").wait()
        assert images() == ("AKSUbuntu-2204gen2containerd-202612.01.0",) * 2
    finally:
        rehearsal.control("DELETE")
    profiles = aks.managed_clusters.get("standing", standing.name).properties.agent_pool_profiles
    assert profiles[0].node_image_version == "AKSUbuntu-2204gen2containerd-202612.01.0"


def test_an_upgrade_goes_a_release_at_a_time_the_control_plane_first(
    rehearsal: Rehearsal, aks: ContainerServiceClient, group: str
) -> None:
    def upgraded(version: str, pools: str, **properties: Any) -> Any:
        body = wanted(kubernetesVersion=version, agentPoolProfiles=[pool(orchestratorVersion=pools)], **properties)
        return aks.managed_clusters.begin_create_or_update(group, "old", body).result()

    upgraded("1.34.4", "1.34.4")
    with pytest.raises(
        HttpResponseError, match=r"1\.34\.4 to 1\.36\.1 is not allowed\. Available upgrades: \[1\.35\.3 "
    ):
        upgraded("1.36", "1.34.4")
    with pytest.raises(HttpResponseError, match="NodePoolMcVersionIncompatible"):
        aks.agent_pools.begin_create_or_update(group, "old", "system", {"properties": pool(orchestratorVersion="1.35")})
    with pytest.raises(HttpResponseError, match="version 35 is bigger than control plane version 34"):
        upgraded("1.34.5", "1.35.3")
    rehearsal.control("POST", {"breakdown": "deprecation", "name": "1.35", "message": "x.k8s.io/v1/uses"})
    try:
        upgraded("1.34.5", "1.34.4")
        with pytest.raises(HttpResponseError, match=r"1\.34\.5 to 1\.34\.4 is not allowed"):
            upgraded("1.34.4", "1.34.4")
        with pytest.raises(
            HttpResponseError, match=r"blocked due to recent usage[\s\S]*will be removed in 1\.35"
        ) as stopped:
            upgraded("1.35.3", "1.34.4")
        assert stopped.value.error.code == "ValidationError"
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        forced = {"overrideSettings": {"forceUpgrade": True, "until": until}}
        made = upgraded("1.35.3", "1.34.4", upgradeSettings=forced)
    finally:
        rehearsal.control("DELETE")
    assert made.properties.current_kubernetes_version == "1.35.3"
    assert made.properties.agent_pool_profiles[0].current_orchestrator_version == "1.34.4"
    body: Any = {"properties": pool(orchestratorVersion="1.35.3")}
    aks.agent_pools.begin_create_or_update(group, "old", "system", body).result()
    assert aks.agent_pools.get(group, "old", "system").properties.current_orchestrator_version == "1.35.3"


def test_a_maintenance_window_is_kept(standing: ManagedCluster, aks: ContainerServiceClient) -> None:
    place, name = ("standing", standing.name), "aksManagedNodeOSUpgradeSchedule"
    weekly = {"weekly": {"intervalWeeks": 1, "dayOfWeek": "Sunday"}}
    window = {"schedule": weekly, "durationHours": 6, "startTime": "01:00"}
    made = aks.maintenance_configurations.create_or_update(*place, name, {"properties": {"maintenanceWindow": window}})
    assert made.id.endswith(f"/maintenanceConfigurations/{name}")
    assert [each.name for each in aks.maintenance_configurations.list_by_managed_cluster(*place)] == [name]
    assert len(aks.managed_clusters.get(*place).agent_pool_profiles) == 1
    today = str(datetime.now(UTC).date())
    kept = {"schedule": weekly, "durationHours": 6, "startTime": "01:00", "utcOffset": "+00:00", "startDate": today}
    assert made.properties.as_dict()["maintenanceWindow"] == kept
    for changes, text in (
        ({"durationHours": 1}, "at least 4 hours"),
        ({"durationHours": 25}, "at most 24"),
        ({"startTime": "1 am"}, "parameter startTime is invalid"),
        ({"utcOffset": "CET"}, "parameter utcOffset is invalid"),
        ({"schedule": weekly | {"daily": {"intervalDays": 1}}}, "one and only one schedule"),
        ({"startDate": "2023-07-14"}, "'maintenanceWindow.startDate' 2023-07-14 .* is before the current time"),
    ):
        body: Any = {"properties": {"maintenanceWindow": window | changes}}
        with pytest.raises(HttpResponseError, match=text):
            aks.maintenance_configurations.create_or_update(*place, name, body)
    aks.maintenance_configurations.delete(*place, name)
    assert not list(aks.maintenance_configurations.list_by_managed_cluster(*place))


def test_nodes_wait_for_pods_as_long_as_they_are_told_to(aks: ContainerServiceClient, group: str) -> None:
    def written(upgrades: Any, **autoscaler: Any) -> ManagedCluster:
        scaled = pool(enableAutoScaling=True, minCount=1, maxCount=3, upgradeSettings=upgrades)
        body = wanted(agentPoolProfiles=[scaled], autoScalerProfile=autoscaler or None)
        return aks.managed_clusters.begin_create_or_update(group, "waiting", body).result()

    def waits(made: ManagedCluster) -> tuple[str, int | None]:
        settings = made.properties.agent_pool_profiles[0].upgrade_settings
        assert settings.max_surge == "10%"
        return made.properties.auto_scaler_profile.max_graceful_termination_sec, settings.drain_timeout_in_minutes

    assert waits(written(None)) == ("600", None)  # which is 30 minutes
    for upgrades, autoscaler, text in (
        ({"drainTimeoutInMinutes": 4}, {}, "drainTimeoutInMinutes is invalid.* between 5 and 1440"),
        ({"drainTimeoutInMinutes": 1441}, {}, "drainTimeoutInMinutes is invalid"),
        (None, {"max-graceful-termination-sec": 5400}, "must be a whole number of seconds as text, got 5400"),
        (None, {"max-graceful-termination-sec": "90m"}, "max-graceful-termination-sec is invalid"),
    ):
        with pytest.raises(HttpResponseError, match=text):
            written(upgrades, **autoscaler)
    made = written({"drainTimeoutInMinutes": 90}, **{"max-graceful-termination-sec": "5400"})
    assert waits(made) == ("5400", 90)
    assert made.properties.auto_scaler_profile.scan_interval == "10s"
    unscaled = wanted(agentPoolProfiles=[pool()])
    plain = aks.managed_clusters.begin_create_or_update(group, "plain", unscaled).result()
    assert plain.properties.auto_scaler_profile is None


def test_a_pool_needs_its_cluster(aks: ContainerServiceClient, group: str) -> None:
    with pytest.raises(ResourceNotFoundError, match="Parent resource 'nowhere' not found"):
        aks.agent_pools.begin_create_or_update(group, "nowhere", "workers", {"properties": pool()})


# Credentials and power


def kubeconfig(credentials: Any) -> Any:
    (one,) = credentials.kubeconfigs
    return yaml.safe_load(one.value)


def test_the_user_signs_in_with_entra(standing: ManagedCluster, aks: ContainerServiceClient) -> None:
    config = kubeconfig(aks.managed_clusters.list_cluster_user_credentials("standing", standing.name))
    (server,) = (one["cluster"] for one in config["clusters"])
    assert re.fullmatch(r"https://localhost:\d+", server["server"])
    authority = base64.b64decode(server["certificate-authority-data"]).decode()
    assert ssl.create_default_context(cadata=authority).get_ca_certs()
    (user,) = config["users"]
    assert user["user"]["exec"]["command"] == "kubelogin"
    assert "6dae42f8-4368-4678-94ff-3960e28e3630" in user["user"]["exec"]["args"]
    assert config["contexts"][0]["context"]["user"] == user["name"]


def test_the_admin_is_refused_while_local_accounts_are_disabled(
    cluster: ManagedCluster, aks: ContainerServiceClient, group: str
) -> None:
    with pytest.raises(HttpResponseError, match="Getting static credential is not allowed") as refused:
        aks.managed_clusters.list_cluster_admin_credentials(group, cluster.name)
    assert (refused.value.status_code, refused.value.error.code) == (400, "BadRequest")
    cluster.properties.disable_local_accounts = False
    aks.managed_clusters.begin_create_or_update(group, cluster.name, cluster).result()
    config = kubeconfig(aks.managed_clusters.list_cluster_admin_credentials(group, cluster.name))
    assert config["current-context"] == "airflow-admin"
    assert len(config["users"][0]["user"]["token"]) == 128


def test_without_entra_the_user_has_a_static_credential(aks: ContainerServiceClient, group: str) -> None:
    body = wanted(aadProfile=None, disableLocalAccounts=False)
    aks.managed_clusters.begin_create_or_update(group, "airflow", body).result()
    config = kubeconfig(aks.managed_clusters.list_cluster_user_credentials(group, "airflow"))
    assert config["users"][0]["user"]["token"]


def test_credentials_take_their_role(
    rehearsal: Rehearsal, cluster: ManagedCluster, newcomer: Newcomer, grant: Grant, group: str
) -> None:
    transport = rehearsal.transport
    with ContainerServiceClient(newcomer.credential, rehearsal.subscription, **transport) as theirs:
        with pytest.raises(HttpResponseError, match="listClusterUserCredential/action") as refused:
            theirs.managed_clusters.list_cluster_user_credentials(group, cluster.name)
        assert refused.value.status_code == 403
        grant(cluster.id, "Azure Kubernetes Service Cluster User Role", newcomer.object_id)
        assert kubeconfig(theirs.managed_clusters.list_cluster_user_credentials(group, cluster.name))


def test_a_cluster_stops_and_starts(cluster: ManagedCluster, aks: ContainerServiceClient, group: str) -> None:
    aks.managed_clusters.begin_stop(group, cluster.name).result()
    stopped = aks.managed_clusters.get(group, cluster.name).properties
    assert (stopped.power_state.code, stopped.provisioning_state) == ("Stopped", "Succeeded")
    aks.managed_clusters.begin_start(group, cluster.name).result()
    assert aks.managed_clusters.get(group, cluster.name).properties.power_state.code == "Running"


# Time


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Rehearsal]:
    """A rehearsal in which creating a cluster takes six seconds."""
    yield start_rehearsal(tmp_path, "--time-scale", "0.02")
    reset_rehearsal(tmp_path)


def test_a_cluster_is_busy_until_it_is_made_and_a_killed_rehearsal_makes_it_after_all(
    slow: Rehearsal, group_name: str
) -> None:
    with (
        slow.credential() as credential,
        ResourceManagementClient(credential, slow.subscription, **slow.transport) as resources,
        ContainerServiceClient(credential, slow.subscription, **slow.transport) as aks,
    ):
        resources.resource_groups.create_or_update(group_name, {"location": "westeurope"})
        for namespace in ("Microsoft.ContainerService", "Microsoft.ManagedIdentity"):
            while resources.providers.register(namespace).registration_state != "Registered":
                time.sleep(0.05)
        # Nobody polls: the rehearsal is not there all the time.
        aks.managed_clusters.begin_create_or_update(group_name, "airflow", wanted(), polling=False)
        for write in (
            lambda: aks.managed_clusters.begin_create_or_update(group_name, "airflow", wanted()),
            lambda: aks.agent_pools.begin_create_or_update(group_name, "airflow", "more", {"properties": pool()}),
            lambda: aks.managed_clusters.begin_stop(group_name, "airflow"),
            lambda: aks.managed_clusters.begin_delete(group_name, "airflow"),
        ):
            with pytest.raises(ResourceExistsError, match=r"Another operation \(Creating\) is in progress") as refused:
                write()
            assert refused.value.error.code == "OperationNotAllowed"
        before = aks.managed_clusters.get(group_name, "airflow").properties
        assert before.provisioning_state == before.agent_pool_profiles[0].provisioning_state == "Creating"
        kill_rehearsal(slow.home)
        start_rehearsal(slow.home)
        deadline = time.monotonic() + 60
        while (made := aks.managed_clusters.get(group_name, "airflow").properties).provisioning_state != "Succeeded":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert made.agent_pool_profiles[0].provisioning_state == "Succeeded"
        assert made.identity_profile == before.identity_profile
        kept = [one.name for one in resources.resources.list_by_resource_group(made.node_resource_group)]
        assert len(kept) == len(set(kept)) == 3
