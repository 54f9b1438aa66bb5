"""The AKS cluster, with every setting that later steps depend on.

Source: https://learn.microsoft.com/azure/templates/microsoft.containerservice/managedclusters
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmChild, ArmResource, merge, rest
from airflowaks.azure.region import kubernetes_releases, require_release, support_plan
from airflowaks.config.naming import utc_offset
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.resource import Facts, value_at

if TYPE_CHECKING:
    from airflowaks.azure.entra import Group
    from airflowaks.azure.identities import ManagedIdentity
    from airflowaks.session import Session

_SECRETS_PROVIDER = "azureKeyvaultSecretsProvider"
_PUBLIC_ADDRESS_API = "2024-05-01"
LONGEST_TASK_SECONDS = 3600
"""How long a worker that is to end may finish its tasks: its terminationGracePeriodSeconds."""
DRAIN_MINUTES = LONGEST_TASK_SECONDS // 60 + 30
"""How long a node waits for its pods to end, with half an hour for them to be evicted; at most 1440.

Otherwise the autoscaler waits ten minutes, and a drain 30, after which "the upgrade operation stops":
https://learn.microsoft.com/azure/aks/cluster-autoscaler,
https://learn.microsoft.com/azure/aks/upgrade-aks-node-pools-rolling#customize-node-drain-timeout
"""
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
        """Return the environment's cluster; node pools of other tools and patch versions stay."""
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
        """Create the cluster (five minutes on Azure) or update it (two minutes).

        A new node pool starts at its minimum size; then the autoscaler decides. A cluster has one identity: the desired
        one replaces the present one. Raises SkuNotAvailable, before anything is sent, for a version that has ended.
        """
        desired = self.desired()
        version = desired["properties"]["kubernetesVersion"]
        if version != value_at(facts, "properties.kubernetesVersion"):
            require_release(self.session, "Kubernetes", version, kubernetes_releases(self.session))
        body = merge(self.kept(facts), desired) | {"identity": desired["identity"]}
        for pool in body["properties"]["agentPoolProfiles"]:
            pool.setdefault("count", self.session.environment.cluster.node_pool.min_count)
        self.put(body)

    def _version(self, current: Any) -> str:
        """Return the desired version, or the patch version of it that the cluster or the node pool runs."""
        desired = self.session.environment.cluster.kubernetes_version
        return str(current) if str(current).startswith(f"{desired}.") else desired

    def _pools(self) -> list[dict[str, Any]]:
        settings = self.session.environment.cluster.node_pool
        desired: dict[str, Any] = {
            "name": settings.name,
            "mode": "System",
            "type": "VirtualMachineScaleSets",
            "osType": "Linux",
            "vmSize": settings.vm_size,
            "osDiskType": settings.os_disk,
            "osDiskSizeGB": settings.os_disk_gb,
            "enableAutoScaling": True,
            "minCount": settings.min_count,
            "maxCount": settings.max_count,
            "availabilityZones": list(settings.zones),
            "upgradeSettings": {"drainTimeoutInMinutes": DRAIN_MINUTES},
        }
        pools: list[dict[str, Any]] = value_at(self.kept(self.facts), "properties.agentPoolProfiles") or []
        present = next((pool for pool in pools if pool["name"] == settings.name), None)
        # The cluster's version alone upgrades the control plane and leaves the nodes at theirs.
        desired["orchestratorVersion"] = self._version((present or {}).get("orchestratorVersion"))
        if present is None:
            return [*pools, desired]
        return [merge(pool, desired) if pool is present else pool for pool in pools]


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
