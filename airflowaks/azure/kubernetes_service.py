"""The AKS cluster, with every setting that later steps depend on.

Source: https://learn.microsoft.com/azure/templates/microsoft.containerservice/managedclusters
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmChild, ArmResource, merge, rest
from airflowaks.azure.node_pools import DRAIN_MINUTES, AgentPool, longest_upgrade_minutes, profile
from airflowaks.azure.region import kubernetes_releases, require_release, support_plan
from airflowaks.config.naming import utc_offset
from airflowaks.engine.changes import AFTER_APPLY, Difference
from airflowaks.engine.diff import compare
from airflowaks.engine.resource import MADE_HERE, Facts, value_at

if TYPE_CHECKING:
    from airflowaks.azure.entra import Group
    from airflowaks.azure.identities import ManagedIdentity
    from airflowaks.session import Session

_SECRETS_PROVIDER = "azureKeyvaultSecretsProvider"
_PUBLIC_ADDRESS_API = "2024-05-01"
UPGRADES = ("aksManagedAutoUpgradeSchedule", "aksManagedNodeOSUpgradeSchedule")
"""The maintenance windows' names: that of Kubernetes' versions and that of the nodes' images."""


class ManagedCluster(ArmResource):
    """An AKS cluster with Entra sign-in only, and with workload identity for its pods."""

    kind = "AKS cluster"
    type = "Microsoft.ContainerService/managedClusters"
    sdk = "clusters.managed_clusters"
    immutable = (
        "location",
        "properties.dnsPrefix",
        "properties.networkProfile.podCidr",
        "properties.networkProfile.serviceCidr",
        "properties.networkProfile.dnsServiceIP",
        "properties.networkProfile.networkPlugin",
        "properties.enableRBAC",
        "properties.agentPoolProfiles[].vmSize",
        "properties.agentPoolProfiles[].osDiskType",
        "properties.agentPoolProfiles[].osDiskSizeGB",
        "properties.agentPoolProfiles[].availabilityZones",
    )

    def __init__(
        self, session: Session, *, identity: ManagedIdentity, admins: Group, depends_on: tuple[Any, ...] = ()
    ) -> None:
        super().__init__(session, session.environment.cluster.name, depends_on=(*depends_on, identity, admins))
        self.identity = identity
        self.admins = admins
        self._addresses: dict[str, Any] = {}

    @property
    def own_pools(self) -> tuple[str, ...]:
        """Return the names of the environment's node pools."""
        return tuple(pool.name for pool in self.session.environment.cluster.pools.values())

    @property
    def finishing_seconds(self) -> float:
        """Return how long another operation is waited for: it may drain every node of the cluster."""
        return super().finishing_seconds + 60 * sum(map(longest_upgrade_minutes, self._present_pools()))

    @property
    def note(self) -> str:
        """Name the pools of a cluster made here that the environment file does not name, and what removes each.

        Whether another tool made a pool, or the file named it before, nothing tells: so none is removed.
        https://learn.microsoft.com/cli/azure/aks/nodepool#az-aks-nodepool-delete
        """
        if self.origin != MADE_HERE:
            return ""
        remove = f"az aks nodepool delete --resource-group {self.group} --cluster-name {self.name} --name"
        return " ".join(
            f"Node pool {pool['name']} is not in the environment file; it stays, and its {pool['count']}"
            f" node{'s' * (pool['count'] != 1)} cost: `{remove} {pool['name']}` removes it."
            for pool in value_at(self.facts, "properties.agentPoolProfiles") or []
            if pool["name"] not in self.own_pools
        )

    def outdated(self) -> tuple[Difference, ...]:
        """Return the control plane and the environment's node pools that are not at the environment's version.

        AKS moves patches on ("autoUpgradeProfile"), so a newer patch of the environment's is none of them.
        """
        wanted = self.session.environment.cluster.kubernetes_version
        control_plane = value_at(self.facts, "properties.currentKubernetesVersion")
        versions = {"properties.currentKubernetesVersion": control_plane}
        for pool in value_at(self.facts, "properties.agentPoolProfiles") or []:
            if pool["name"] in self.own_pools:
                path = f"properties.agentPoolProfiles[{pool['name']}].currentOrchestratorVersion"
                versions[path] = pool.get("currentOrchestratorVersion")
        return tuple(
            Difference(path, version, wanted)
            for path, version in versions.items()
            if version and not reaches(version, wanted)
        )

    def outbound_addresses(self) -> list[Any]:
        """Return the public IPv4 addresses of outbound traffic; AFTER_APPLY for an address that is not known yet.

        The list is empty if the cluster's outbound type is not its load balancer.
        """
        if self.fact("properties.networkProfile.outboundType") not in ("loadBalancer", AFTER_APPLY):
            return []
        addresses = self.fact("properties.networkProfile.loadBalancerProfile.effectiveOutboundIPs")
        if addresses is AFTER_APPLY:
            return [AFTER_APPLY]
        return [self._public_address(address["id"]) for address in addresses]

    def _public_address(self, resource_id: str) -> Any:
        if self._addresses.get(resource_id, AFTER_APPLY) is AFTER_APPLY:
            address: Any = self.session.resources.resources.get_by_id(
                resource_id, api_version=_PUBLIC_ADDRESS_API, cls=rest
            )
            self._addresses[resource_id] = address["properties"].get("ipAddress", AFTER_APPLY)
        return self._addresses[resource_id]

    def desired(self) -> Facts:
        """Return the environment's cluster; node pools of other tools stay, and versions: 10_upgrade changes those."""
        environment, settings = self.session.environment, self.session.environment.cluster
        return {
            "location": environment.location,
            "tags": self.tags(),
            "sku": {"name": "Base", "tier": settings.tier},
            "identity": {"type": "UserAssigned", "userAssignedIdentities": {self.identity.id: {}}},
            "properties": {
                "kubernetesVersion": self._version(self.fact("properties.kubernetesVersion")),
                # The tier alone brings no long-term support: https://learn.microsoft.com/azure/aks/long-term-support
                "supportPlan": support_plan(self.session),
                "dnsPrefix": settings.name,
                "disableLocalAccounts": True,
                "enableRBAC": True,
                "aadProfile": {
                    "managed": True,
                    "enableAzureRBAC": True,
                    "adminGroupObjectIDs": [self.admins.object_id],
                    "tenantID": environment.tenant_id,
                },
                "oidcIssuerProfile": {"enabled": True},
                "securityProfile": {"workloadIdentity": {"enabled": True}},
                "workloadAutoScalerProfile": {"keda": {"enabled": True}},
                "addonProfiles": {
                    _SECRETS_PROVIDER: {
                        "enabled": True,
                        "config": {"enableSecretRotation": "true", "rotationPollInterval": "2m"},
                    }
                },
                "autoUpgradeProfile": {"upgradeChannel": "patch", "nodeOSUpgradeChannel": "NodeImage"},
                "autoScalerProfile": {"max-graceful-termination-sec": str(DRAIN_MINUTES * 60)},
                "apiServerAccessProfile": {"authorizedIPRanges": list(settings.authorized_ip_ranges)},
                "networkProfile": {
                    "networkPlugin": "azure",
                    "networkPluginMode": "overlay",
                    "networkDataplane": "cilium",
                    "networkPolicy": "cilium",
                    "podCidr": settings.network.pod_cidr,
                    "serviceCidr": settings.network.service_cidr,
                    "dnsServiceIP": settings.network.dns_service_ip,
                    "loadBalancerSku": "standard",
                },
                "agentPoolProfiles": self._pools(),
            },
        }

    def write(self, facts: Facts | None) -> None:
        """Create the cluster (five minutes on Azure) or update it (two minutes), and then the pools that differ.

        A new node pool starts at its minimum size; then the autoscaler decides. A cluster has one identity: the desired
        one replaces the present one. An update of the cluster leaves its pools alone, so that the control plane is
        never behind its nodes, and never upgraded in one operation with spot nodes, which AKS forbids. Raises
        SkuNotAvailable, before anything is sent, for a version that has ended.
        """
        desired = self.desired()
        version = desired["properties"]["kubernetesVersion"]
        if version != value_at(facts, "properties.kubernetesVersion"):
            require_release(self.session, "Kubernetes", version, kubernetes_releases(self.session))
        body = merge(self.kept(facts), desired) | {"identity": desired["identity"]}
        pools = body["properties"]["agentPoolProfiles"]
        if facts is None:
            for pool in pools:
                pool["count"] = pool["minCount"]
            self.put(body)
            return
        present = {pool["name"]: pool for pool in self._present_pools()}
        body["properties"]["agentPoolProfiles"] = list(present.values())
        self.put(body)
        # A pool is no system pool any more only beside another one.
        for pool in sorted(pools, key=lambda pool: pool.get("mode") != "System"):
            if compare(pool, present.get(pool["name"])):
                AgentPool(self, pool).write(None)

    def _version(self, current: Any) -> str:
        """Return the version that the cluster or the node pool has, or the environment's for a new one."""
        return self.session.environment.cluster.kubernetes_version if current in (None, AFTER_APPLY) else str(current)

    def _pools(self) -> list[dict[str, Any]]:
        """Return the pools as they should be, those of other tools among them as they are."""
        pools = {pool["name"]: pool for pool in self._present_pools()}
        settings = self.session.environment.cluster
        for pool in settings.pools.values():
            present = pools.get(pool.name)
            # A new pool may not be ahead of the control plane.
            running = (
                present.get("orchestratorVersion") if present else self.fact("properties.currentKubernetesVersion")
            )
            version = {"orchestratorVersion": self._version(running)}
            pools[pool.name] = merge(present or {}, profile(settings, pool) | version)
        return list(pools.values())

    def _present_pools(self) -> list[dict[str, Any]]:
        return value_at(self.kept(self.facts), "properties.agentPoolProfiles") or []


def reaches(version: str, wanted: str) -> bool:
    """Tell whether a patch is the wanted one, a newer one of its release, or any of the wanted release."""
    (*release, patch), (*wanted_release, wanted_patch) = (
        (*map(int, f"{each}.0".split(".")[:3]),) for each in (version, wanted)
    )
    return release == wanted_release and patch >= wanted_patch


class MaintenanceWindow(ArmChild):
    """The hours of a week in which AKS begins the upgrades of one kind; what it began it ends.

    An update leaves out `startDate`, since a past one is refused, and the schedule, of which there may be one only.
    Sources: https://learn.microsoft.com/azure/aks/planned-maintenance,
    https://github.com/hashicorp/terraform-provider-azurerm/issues/22762
    """

    kind = "maintenance window"
    type = "maintenanceConfigurations"
    sdk = "clusters.maintenance_configurations"
    creation = "create_or_update"

    def desired(self) -> Facts:
        """Return the environment's hours."""
        hours = self.session.environment.cluster.maintenance
        return {
            "properties": {
                "maintenanceWindow": {
                    "schedule": {"weekly": {"intervalWeeks": 1, "dayOfWeek": hours.day}},
                    "startTime": f"{hours.start_hour:02}:00",
                    "utcOffset": hours.utc_offset or utc_offset(self.session.environment.location),
                    "durationHours": hours.hours,
                }
            }
        }
