"""Microsoft.ContainerService: managed clusters, and the supported Kubernetes versions.

A cluster has a node resource group with real identities, an OIDC issuer whose tokens Entra accepts, and a
Kubernetes API with a node: on a port of localhost, which its kubeconfigs name instead of the `fqdn`.

Error codes and texts: https://github.com/Azure/AKS/issues and
https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/welcome-azure-kubernetes
"""

from __future__ import annotations

import re
import secrets
import uuid
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.entra.directory import signing_key
from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.kubernetes.clusters import Clusters
from rehearsal_cloud.resource_manager.cluster_issuers import HOST_SUFFIX
from rehearsal_cloud.resource_manager.kubernetes_versions import current_version, oidc_by_default
from rehearsal_cloud.resource_manager.providers import agent_pools, cluster_upgrades
from rehearsal_cloud.resource_manager.providers.agent_pools import AgentPool
from rehearsal_cloud.resource_manager.providers.cluster_credentials import admin_credential, user_credential
from rehearsal_cloud.resource_manager.providers.cluster_defaults import autoscaler_profile, cluster_defaults
from rehearsal_cloud.resource_manager.providers.cluster_identity import (
    check_assigned,
    identity_of,
    make_addon_identities,
    make_identity,
    remove_addon_identities,
)
from rehearsal_cloud.resource_manager.providers.cluster_rules import (
    check_autoscaler,
    check_immutable,
    check_networks,
    check_oidc,
    check_required,
    check_support_plan,
    check_version,
)
from rehearsal_cloud.resource_manager.providers.maintenance import MaintenanceConfiguration
from rehearsal_cloud.resource_manager.providers.network import public_address
from rehearsal_cloud.resource_manager.providers.node_capacity import check_capacity
from rehearsal_cloud.resource_manager.providers.pool_rules import (
    check_none_added,
    check_pool_version,
    check_system_pool,
)
from rehearsal_cloud.resource_manager.resource_groups import SUBSCRIPTION
from rehearsal_cloud.resource_manager.resource_ids import ResourceId, canonical_location
from rehearsal_cloud.resource_manager.resource_types import (
    PENDING,
    Answer,
    Call,
    Provider,
    ResourceType,
    busy_error,
    defaults,
    find,
    system_data,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

_POWER_SECONDS = 120.0
_READ_ONLY = (
    "provisioningState",
    "powerState",
    "fqdn",
    "azurePortalFQDN",
    "currentKubernetesVersion",
    "maxAgentPools",
    "resourceUID",
)


class ManagedCluster(ResourceType):
    """A managed cluster; its agent pools are children, and also shown in it."""

    namespace = "Microsoft.ContainerService"
    type = "managedClusters"
    name_rule = r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9_-]{0,61}[A-Za-z0-9]"
    name_text = (
        "Error details: Cluster names have 1 to 63 letters, digits, '-' and '_' and start and end with a letter or"
        " digit. Please see https://aka.ms/aks-naming-rules for more details."
    )
    busy = agent_pools.BUSY
    exclusive = True
    seconds: ClassVar[Mapping[str, float]] = {"create": 300, "update": 120, "delete": 240}

    def __init__(self) -> None:
        self.clusters = Clusters()

    def check_name(self, name: str) -> None:
        """Raise ServiceError (400) with AKS's message for an invalid name."""
        if not re.fullmatch(self.name_rule, name):
            text = f"The value of parameter resourceName is invalid. {self.name_text}"
            raise ServiceError(400, "InvalidParameter", text)

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Validate versions, identities, pools and immutable properties."""
        properties = body.get("properties") or {}
        if existing is None:
            check_required(properties)
            check_networks(properties)
        else:
            check_immutable(properties, existing["properties"])
        check_support_plan(body, existing)
        check_version(call, properties, existing)
        check_assigned(call, body.get("identity") or {})
        check_oidc(properties, existing)
        check_autoscaler(properties)
        version = properties.get("kubernetesVersion") or find(existing or {}, "properties.kubernetesVersion")
        pools = {pool["name"]: pool["properties"] for pool in agent_pools.pools_of(call.cloud, call.id.path)}
        agent_pools.check_node_images(call, pools, find(call.body, "properties.agentPoolProfiles") or [])
        if existing is not None:
            check_none_added(pools, properties.get("agentPoolProfiles") or [])
        for pool in properties.get("agentPoolProfiles") or []:
            name = pool.get("name") or ""
            before = pools.get(name)
            pools[name] = agent_pools.check(name, pool, before, body["location"])
            check_pool_version(name, pools[name], current_version(version))
            check_capacity(call, name, pools[name], before, canonical_location(body["location"]))
        check_system_pool(pools.values())

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the cluster with AKS's defaults, with unknown properties and without secrets."""
        before = (existing or {}).get("properties", {})
        location = call.cloud.location(call.id) if existing else canonical_location(body["location"])
        requested = {key: value for key, value in (body.get("properties") or {}).items() if key not in _READ_ONLY}
        for account, secret in (("servicePrincipalProfile", "secret"), ("windowsProfile", "adminPassword")):
            if requested.get(account):
                requested[account] = {key: value for key, value in requested[account].items() if key != secret}
        requested["kubernetesVersion"] = requested.get("kubernetesVersion") or None
        properties = defaults(requested, before or cluster_defaults(call.id, location, requested))
        version = current_version(properties["kubernetesVersion"])
        properties["currentKubernetesVersion"] = version
        state = "Updating" if existing else "Creating"
        pools = {pool["name"]: pool for pool in before.get("agentPoolProfiles", [])}
        for pool in requested.get("agentPoolProfiles") or list(pools.values()):
            name = pool["name"]
            profile = agent_pools.filled(call.cloud, pools.get(name, {}), pool, version)
            pools[name] = {"name": name, **profile, "provisioningState": state}
        properties["agentPoolProfiles"] = list(pools.values())
        if autoscaler := autoscaler_profile(properties.get("autoScalerProfile"), pools.values()):
            properties["autoScalerProfile"] = autoscaler
        properties["oidcIssuerProfile"] = _issuer(properties, before, version, location)
        if properties.get("aadProfile"):
            properties["aadProfile"] = defaults(properties["aadProfile"], {"managed": True, "tenantID": TENANT_ID})
        document = {key: value for key, value in body.items() if key not in ("id", "name", "type", "identity")}
        document |= {
            "location": location,
            "sku": defaults(body.get("sku"), (existing or {}).get("sku") or {"name": "Base", "tier": "Free"}),
            "properties": properties,
            "eTag": str(uuid.uuid4()),
            "systemData": system_data(call, existing),
            "_secret": (existing or {}).get("_secret") or {"token": secrets.token_hex(64)},
        }
        identity = identity_of(call, body, properties, existing)
        return document | ({"identity": identity} if identity else {})

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Create the node resource group with its identities, the pools, the issuer key and the cluster."""
        del verb
        properties = document["properties"]
        await remove_addon_identities(cloud, document)
        with cloud.store.transaction():
            group = cloud.resource_groups.make(properties["nodeResourceGroup"], document["location"], document["id"])
            if document.get("identity"):
                identities = properties.setdefault("identityProfile", {})
                if "kubeletidentity" not in identities:
                    kubelet = f"{document['name']}-agentpool"
                    identities["kubeletidentity"] = make_identity(cloud, group, kubelet, document["location"])
                make_addon_identities(cloud, document, group)
            for address in find(properties, "networkProfile.loadBalancerProfile.effectiveOutboundIPs") or []:
                _keep_address(cloud, address["id"], document["location"])
            if properties["oidcIssuerProfile"]["enabled"]:
                signing_key(cloud.store, f"oidc {properties['oidcIssuerProfile']['issuerURL']}")
            for pool in properties["agentPoolProfiles"]:
                agent_pools.keep(cloud, document, pool)
            cloud.keep(document)
        await self.clusters.make(cloud, document)
        if cluster := self.clusters.of(document["id"]):
            for pool in properties["agentPoolProfiles"]:
                await cluster.upgrade(pool)
        cloud.keep(document)

    def settle(self, cloud: Cloud, document: Document) -> None:
        """End the pools' operations with the cluster's."""
        for child in agent_pools.pools_of(cloud, document["id"]):
            if child["_state"] in PENDING:
                cloud.keep({**child, "_state": document["_state"]})
        agent_pools.mirror(cloud, document["id"])

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Delete the cluster, the node resource group, the issuer's key and the cluster's own identity."""
        await self.clusters.destroy(cloud, document)
        properties = document["properties"]
        await cloud.operations.delete(f"{SUBSCRIPTION}/resourceGroups/{properties['nodeResourceGroup']}")
        cloud.store.delete("keys", f"oidc {properties['oidcIssuerProfile'].get('issuerURL')}")
        if principal := (document.get("identity") or {}).get("principalId"):
            cloud.entra.remove(principal)

    def view(self, document: Document) -> Document:
        """Return the answer to a GET, with the type as AKS spells it (and ManagedClustersCreate_Update.json)."""
        return super().view(document) | {"type": "Microsoft.ContainerService/ManagedClusters"}

    async def start(self, cloud: Cloud, document: Document) -> None:
        """Start the cluster again, unless it was stopped."""
        await self.clusters.start(cloud, document)

    async def stop(self, cloud: Cloud, document: Document) -> None:
        """Stop the cluster; its content stays."""
        del cloud
        await self.clusters.stop(document)

    def actions(self) -> Mapping[str, Callable[[Call, Document], Awaitable[Answer]]]:
        """Return the actions that list credentials, start and stop."""
        return {
            "listClusterUserCredential": user_credential,
            "listClusterAdminCredential": admin_credential,
            "start": _start,
            "stop": _stop,
        }


class ContainerService(Provider):
    """The provider of managed clusters."""

    namespace = "Microsoft.ContainerService"

    def __init__(self) -> None:
        cluster = ManagedCluster()
        super().__init__(cluster, AgentPool(cluster.clusters), MaintenanceConfiguration())

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the listings of Kubernetes versions: the region's, and what a cluster or pool can be upgraded to."""
        return cluster_upgrades.functions()


# Resources of a cluster


def _keep_address(cloud: Cloud, path: str, location: str) -> None:
    rid = ResourceId.parse(path)
    if rid is not None and cloud.resource(rid) is None:
        properties = {
            "ipAddress": public_address(),
            "publicIPAllocationMethod": "Static",
            "publicIPAddressVersion": "IPv4",
        }
        kept = {"id": path, "name": rid.name, "type": rid.full_type, "location": location, "properties": properties}
        cloud.keep({**kept, "sku": {"name": "Standard", "tier": "Regional"}, "_state": "Succeeded", "_secret": {}})


# Power


async def _start(call: Call, document: Document) -> Answer:
    return _power(call, document, "Running")


async def _stop(call: Call, document: Document) -> Answer:
    return _power(call, document, "Stopped")


def _power(call: Call, document: Document, code: str) -> Answer:
    for resource in (document, *call.cloud.resources(document["id"])):
        if resource["_state"] in PENDING:
            raise busy_error(agent_pools.BUSY, resource)
    if document["properties"]["powerState"]["code"] == code:
        return Answer(status=204)
    document["properties"]["powerState"] = {"code": code}
    return Answer(operation_seconds=_POWER_SECONDS, updated=document)


def _issuer(properties: Document, before: Document, version: str, location: str) -> Document:
    enabled = find(properties, "oidcIssuerProfile.enabled")
    if not (oidc_by_default(version) if enabled is None else enabled):
        return {"enabled": False}
    url = find(before, "oidcIssuerProfile.issuerURL")
    return {"enabled": True, "issuerURL": url or f"https://{location}{HOST_SUFFIX}/{TENANT_ID}/{uuid.uuid4()}/"}
