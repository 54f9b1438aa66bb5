"""The sections of an environment file: keys, defaults, and the rules across keys.

A rule across keys is validated on the later key, so that pydantic still reports every other problem.
"""

from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic import ValidationInfo as Info

from airflowaks.config import types

# AKS rejects the first four for pods and services; the last is the default virtual network of the nodes.
# https://learn.microsoft.com/azure/aks/azure-cni-overlay#ip-address-planning
RESERVED_NETWORKS = tuple(
    map(IPv4Network, ("169.254.0.0/16", "172.30.0.0/16", "172.31.0.0/16", "192.0.2.0/24", "10.224.0.0/12"))
)
# Azure CNI Overlay gives each node a /24 of the pod range, however many pods it runs.
NODE_PREFIX = 24
NETWORK_PREFIX = 16
LARGEST_SERVICE_RANGE = 12
SMALLEST_SERVICE_RANGE = 28

SYSTEM_POOL_CORES = 2

# Since this version, D and E sizes have the local disk for an ephemeral OS disk only with a "d" in the name.
DISKLESS_SINCE = 4


class Section(BaseModel):
    """A mapping in the file: rejects unknown keys, converts no types, validates defaults, and is frozen."""

    # Building the models on first use saves 0.04 s when a step is imported.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_blank_keys(cls, section: Any) -> Any:
        # A `key:` without a value, such as one whose lines below are commented out, means the default.
        if not isinstance(section, dict):
            return section
        return {key: value for key, value in section.items() if value is not None or key not in cls.model_fields}


def not_below_min_count(value: int, info: Info) -> int:
    """Return `value`, a `max_count`. Raises ValueError if it is below the section's `min_count`."""
    if value < info.data.get("min_count", value):
        raise ValueError(f"{value} is below min_count ({info.data['min_count']}); raise max_count or lower min_count")
    return value


def _free_range(prefix: int, taken: str | None) -> str:
    reserved = [*RESERVED_NETWORKS, *([IPv4Network(taken)] if taken else ())]
    private = IPv4Network("10.0.0.0/8").subnets(new_prefix=prefix)
    return str(next(network for network in private if not any(map(network.overlaps, reserved))))


class Entra(Section):
    """The groups that administer, use and look at Airflow and its cluster, and their members besides the operator.

    Without `viewer_group` and `viewer_members` nobody signs in to Airflow as a viewer. People sign in to `application`,
    which step 1 makes, or to the one that an administrator of the tenant has made, whose client ID is `application_id`.
    """

    admin_group: types.AdminGroupName
    developer_group: types.GroupName
    viewer_group: types.GroupName | None = None
    admin_members: types.Members = ()
    developer_members: types.Members = ()
    viewer_members: types.Members = ()
    application: types.GroupName
    application_id: types.ApplicationId | None = None

    @field_validator("developer_group", "viewer_group")
    @classmethod
    def _is_a_group_of_its_own(cls, value: str | None, info: Info) -> str | None:
        own = str(info.field_name).removesuffix("_group")
        for group, rights in (("admin", "administer the cluster"), ("developer", "see the cluster")):
            # Graph's filter by name ignores case.
            if value and group != own and value.casefold() == info.data.get(f"{group}_group", "").casefold():
                raise ValueError(f'"{value}" is also {group}_group: {own}s would {rights}; use another group')
        return value


class NodePool(Section):
    """The node pool that runs Airflow, scaled between `min_count` and `max_count`; disk size in GiB.

    Without a system pool of its own the cluster has its system pods here, too.
    """

    name: types.NodePoolName = "airflow"
    vm_size: types.VmSize = "Standard_D4ds_v5"
    min_count: int = Field(default=2, ge=1, le=1000)
    max_count: int = Field(default=5, ge=1, le=1000)
    zones: types.Zones = ("1", "2", "3")
    os_disk: Literal["Ephemeral", "Managed"] = "Ephemeral"
    os_disk_gb: int = Field(default=128, ge=30, le=2048)

    _not_below_min_count = field_validator("max_count")(not_below_min_count)

    @field_validator("vm_size")
    @classmethod
    def _has_two_cores(cls, value: str) -> str:
        # Airflow's pool may be the cluster's system pool, which AKS refuses on one core with SystemPoolSkuTooLow:
        # https://github.com/MicrosoftDocs/azure-dev-docs/issues/216. It says 4 GB too, and takes less:
        # https://github.com/MicrosoftDocs/azure-docs/issues/121181
        size = types.VM_SIZE.fullmatch(value)
        if size and int(size["cores"]) < SYSTEM_POOL_CORES:
            raise ValueError(
                f'"{value}" has less than {SYSTEM_POOL_CORES} cores; use a larger size such as "Standard_D4ds_v5"'
            )
        return value

    @field_validator("os_disk")
    @classmethod
    def _has_a_local_disk(cls, value: str, info: Info) -> str:
        size = types.VM_SIZE.fullmatch(info.data.get("vm_size", ""))
        if value == "Managed" or not size or size["family"] not in {"D", "E"} or "d" in size["features"]:
            return value
        if int(size["version"] or 0) < DISKLESS_SINCE:
            return value
        raise ValueError(
            f'"Ephemeral" needs a local disk, and {size.group()} has none; '
            'use "Managed", or a vm_size with a d such as "Standard_D4ds_v5"'
        )


class SystemPool(NodePool):
    """The pool of the cluster's own pods alone: https://learn.microsoft.com/azure/aks/use-system-pools."""

    name: types.NodePoolName = "system"


class SpotPool(NodePool):
    """The pool of machines that Azure may take back, at a fraction of the price, for queues with `spot: true`."""

    name: types.NodePoolName = "spot"
    min_count: int = Field(default=0, ge=0, le=1000)


class ClusterNetwork(Section):
    """Address ranges inside the cluster (Azure CNI Overlay); networks that pods connect to must not overlap them."""

    pod_cidr: types.Network = "10.244.0.0/16"
    service_cidr: types.Network = "10.0.0.0/16"
    # AKS defaults to the tenth address of the service range. There is no default while service_cidr is invalid.
    dns_service_ip: types.Address = Field(default_factory=lambda data: str(IPv4Network(data["service_cidr"])[10]))

    @field_validator("pod_cidr", "service_cidr")
    @classmethod
    def _is_free(cls, value: str, info: Info) -> str:
        pods, network = info.data.get("pod_cidr"), IPv4Network(value)
        if pods and network.overlaps(IPv4Network(pods)):
            raise ValueError(f'"{value}" overlaps pod_cidr "{pods}"; choose ranges that do not overlap')
        for reserved in RESERVED_NETWORKS:
            if network.overlaps(reserved):
                raise ValueError(f'"{value}" overlaps {reserved}, which AKS reserves; choose another range')
        if special := types.special_network(network[0], network[-1]):
            raise ValueError(f'"{value}" overlaps {special}; choose another range')
        return value

    @field_validator("service_cidr")
    @classmethod
    def _has_room_for_dns(cls, value: str, info: Info) -> str:
        if not LARGEST_SERVICE_RANGE <= IPv4Network(value).prefixlen <= SMALLEST_SERVICE_RANGE:
            example = _free_range(NETWORK_PREFIX, info.data.get("pod_cidr"))
            raise ValueError(f'"{value}" is larger than /12 or smaller than /28; use a range such as "{example}"')
        return value

    @field_validator("dns_service_ip")
    @classmethod
    def _is_a_free_address(cls, value: str, info: Info) -> str:
        if "service_cidr" not in info.data:
            return value
        services, address = IPv4Network(info.data["service_cidr"]), IPv4Address(value)
        # The first usable address belongs to kubernetes.default.svc.
        if address not in services or address in {services[0], services[1], services[-1]}:
            raise ValueError(
                f'"{value}" is not a free address of service_cidr "{services}" (first two and last are reserved); '
                f'use "{services[10]}"'
            )
        return value


class Maintenance(Section):
    """The weekly window in which AKS upgrades Kubernetes and the images of the nodes; offsets know no summer time.

    Without an offset the hours are those of the region's standard time: the night of the region.
    """

    day: Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] = "Sunday"
    start_hour: int = Field(default=0, ge=0, le=23)
    utc_offset: types.UtcOffset | None = None
    # https://learn.microsoft.com/azure/aks/planned-maintenance: shorter windows are refused.
    hours: int = Field(default=8, ge=4, le=24)


class Cluster(Section):
    """The AKS cluster; the tiers Standard and Premium include an SLA for the Kubernetes API.

    With Premium the cluster's support plan is AKSLongTermSupport, with the others KubernetesOfficial.
    """

    name: types.ClusterName
    kubernetes_version: types.KubernetesVersion = "1.35"
    tier: Literal["Free", "Standard", "Premium"] = "Standard"
    namespace: types.Namespace = "airflow"
    node_pool: NodePool = Field(default_factory=NodePool)
    system_pool: SystemPool | None = None
    spot_pool: SpotPool | None = None
    network: ClusterNetwork = Field(default_factory=ClusterNetwork)
    maintenance: Maintenance = Field(default_factory=Maintenance)
    # If empty, any address may reach the Kubernetes API; every request still needs an Entra token.
    authorized_ip_ranges: types.Networks = ()

    @property
    def pools(self) -> dict[str, NodePool]:
        """The node pools by their key in the file, the system pool first: it is the cluster's first one."""
        pools = {"system_pool": self.system_pool, "node_pool": self.node_pool, "spot_pool": self.spot_pool}
        return {key: pool for key, pool in pools.items() if pool is not None}

    @field_validator("system_pool", "spot_pool")
    @classmethod
    def _is_a_pool_of_its_own(cls, value: NodePool | None, info: Info) -> NodePool | None:
        names = {pool.name: key for key in ("node_pool", "system_pool") if (pool := info.data.get(key))}
        if value is not None and value.name in names:
            raise ValueError(f'"{value.name}" is also the name of {names[value.name]}; use another name')
        return value

    @field_validator("network")
    @classmethod
    def _has_pods_for_every_node(cls, value: ClusterNetwork, info: Info) -> ClusterNetwork:
        pools = [pool for key in ("node_pool", "system_pool", "spot_pool") if (pool := info.data.get(key))]
        nodes = sum(pool.max_count for pool in pools) or 1
        room = 2 ** max(0, NODE_PREFIX - IPv4Network(value.pod_cidr).prefixlen)
        if IPv4Network(value.pod_cidr).prefixlen > NODE_PREFIX or room < nodes:
            prefix = min(NETWORK_PREFIX, NODE_PREFIX - (nodes - 1).bit_length())
            raise ValueError(
                f'pod_cidr "{value.pod_cidr}" is too small: each of {nodes} nodes needs a /24; '
                f'use a larger range such as "{_free_range(prefix, value.service_cidr)}", or lower a max_count'
            )
        return value


class SourceCredentials(Section):
    """The secrets, in a vault that exists already, with which `source` is imported; each is named by its URL."""

    username: types.SecretUrl = Field(description="the URL of the secret with the user's name")
    token: types.SecretUrl = Field(description="the URL of the secret with an access token")

    @field_validator("token")
    @classmethod
    def _is_a_secret_of_its_own(cls, value: str, info: Info) -> str:
        # Key Vault's names ignore case.
        if value.casefold() == info.data.get("username", "").casefold():
            raise ValueError(f'"{value}" is also username: the name is no token; use the URL of the token\'s secret')
        return value


class Registry(Section):
    """The container registry and the Airflow image in it.

    The image is imported from `source`, built from `manifests/image` on top of `source`, or exists already.
    """

    name: types.RegistryName
    sku: Literal["Basic", "Standard", "Premium"] = "Standard"
    image: Literal["import", "build", "existing"] = "import"
    source: types.Image = "docker.io/apache/airflow:3.3.2"
    # The variables AIRFLOWAKS_SOURCE_USERNAME and AIRFLOWAKS_SOURCE_TOKEN take precedence.
    source_credentials: SourceCredentials | None = None
    repository: types.RepositoryName = "airflow"
    # The tag of an imported or existing image; the tag of a built image is a hash of its sources.
    tag: types.ImageTag = Field(default_factory=lambda data: types.image_tag(data["source"]))

    @property
    def source_tag(self) -> str:
        """Return the tag of `source`."""
        return types.image_tag(self.source)


class KeyVault(Section):
    """The vault of Airflow's secrets; a deleted vault stays recoverable, and keeps its name, for `soft_delete_days`."""

    name: types.KeyVaultName
    sku: Literal["standard", "premium"] = "standard"
    # Cannot be disabled again, and reserves the name for `soft_delete_days` after a teardown.
    purge_protection: bool = False
    soft_delete_days: int = Field(default=90, ge=7, le=90)


class Identities(Section):
    """The user-assigned managed identities of the cluster and of Airflow's pods."""

    cluster: types.IdentityName
    pods: types.IdentityName

    @field_validator("pods")
    @classmethod
    def _is_not_the_clusters(cls, value: str, info: Info) -> str:
        # Resource Manager's names ignore case.
        if value.lower() == info.data.get("cluster", "").lower():
            raise ValueError(f'"{value}" is also the cluster\'s: pods would act as the cluster; use another identity')
        return value
