"""Azure's control plane: refused requests, missing resources, a stopped cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import DOWNSTREAM, NOTE, WARNING, Cause, Section, in_turn, listed, missing
from airflowaks.steps import cluster, key_vault, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.resource_status import ResourceStatus
    from airflowaks.diagnosis.facts.snapshot import Snapshot

_REQUESTS = ("operation", "resource", "reading")
_LEARN = "https://learn.microsoft.com/"
_ERROR_CODES = f"{_LEARN}troubleshoot/azure/azure-kubernetes/error-codes/"
_NEARLY = 0.95
# Resources and differences that more specific rules check.
_SPECIFIC_RESOURCES = (
    "registry.pull_access",
    "registry.image",
    "backend.administrator",
    "key_vault.access",
    "workload_identity.vault_access",
    "backend.database",
)
_SPECIFIC_KINDS = ("secret", "federated credential", "firewall rule", "resource provider")
_SPECIFIC_DIFFERENCES = (
    "publicNetworkAccess",
    "clusteringPolicy",
    "evictionPolicy",
    "accessKeysAuthentication",
    "addonProfiles",
)
AZURE = Section(*_REQUESTS, "event")


@AZURE.rule(
    "AKA-101",
    effects=("AKA-115", "AKA-116"),
    link=f"{_LEARN}azure/azure-resource-manager/troubleshooting/error-register-resource-provider",
    remedy=cluster.providers,
)
def provider_is_not_registered(facts: Snapshot) -> Iterable[Cause]:
    """Find resource providers that the subscription is not registered for."""
    unregistered = [
        f"{status.title}: {difference}"
        for status in facts.azure.resources.values()
        if status.kind == "resource provider"
        for difference in status.differences
    ]
    words = (("MissingSubscriptionRegistration",), ("not registered to use namespace",))
    yield Cause(
        "The subscription is not registered for a resource provider that the deployment needs.",
        "Run step 1, which registers the providers.",
        [*unregistered, *AZURE.lines(facts, *words)],
    )


@AZURE.rule("AKA-102", effects=("AKA-115", "AKA-116", "AKA-801"), link=f"{_ERROR_CODES}error-code-quotaexceeded")
def quota_is_exceeded(facts: Snapshot) -> Iterable[Cause]:
    """Find requests that exceed a quota."""
    words = (("exceeding approved", "quota"), ("QuotaExceeded",), ("InsufficientVCPUQuota",))
    if lines := AZURE.lines(facts, *words, sources=_REQUESTS):
        yield Cause(
            "A request exceeds the subscription's quota.",
            "Choose a smaller size or another region, or request more quota in the portal under Quotas.",
            [*lines, *_scarce_quotas(facts)],
        )


@AZURE.rule("AKA-103", NOTE, link=f"{_LEARN}azure/quotas/view-quotas")
def quota_is_nearly_used_up(facts: Snapshot) -> Iterable[Cause]:
    """Find quotas that are at least 95 % used."""
    yield Cause(
        "A quota of the region is nearly used up: the cluster may soon be unable to add nodes.",
        "Request more quota in the portal under Quotas before the next roll-out.",
        _scarce_quotas(facts),
    )


def _scarce_quotas(facts: Snapshot) -> list[str]:
    return [
        f"quota {name}: {quota.used} of {quota.limit}"
        for name, quota in facts.azure.quotas.items()
        if quota.limit and quota.used >= _NEARLY * quota.limit
    ]


AZURE.text_rule(
    "AKA-104",
    ("SkuNotAvailable",),
    ("Capacity Restrictions",),
    cause="The VM size is not available in this region or zone.",
    fix="Choose another `cluster.node_pool.vm_size`, zone or region in the environment file, then run step 1.",
    effects=("AKA-115", "AKA-116", "AKA-801"),
    link=f"{_LEARN}azure/azure-resource-manager/troubleshooting/error-sku-not-available",
)
AZURE.text_rule(
    "AKA-105",
    ("PrincipalNotFound",),
    ("does not exist in the directory",),
    severity=WARNING,
    cause="A role assignment failed because Entra had not replicated the new principal yet.",
    fix="Run the step again: it assigns the role with principalType and waits for the replication.",
    effects=("AKA-116",),
    link=f"{_LEARN}azure/role-based-access-control/troubleshooting",
)


@AZURE.rule(
    "AKA-106",
    effects=("AKA-3", "AKA-0", *DOWNSTREAM),
    link=f"{_LEARN}azure/key-vault/general/key-vault-recovery",
    remedy=in_turn(key_vault.everything, workload_identity.identity),
)
def vault_is_deleted(facts: Snapshot) -> Iterable[Cause]:
    """Find a soft-deleted vault, or one that holds the environment's vault name."""
    deleted = missing(facts, "key_vault.vault") if facts.azure.vault_deleted else []
    words = ("vault with the same name already exists in deleted state",)
    yield Cause(
        "The key vault is soft-deleted: pods cannot read any secret.",
        "Run step 4, which recovers the vault with its secrets, then step 5, which assigns the pods' role. If the"
        " deleted vault is of another deployment, purge it instead.",
        [*deleted, *AZURE.lines(facts, words)],
    )


for _name, _words, _cause, _fix, _page in (
    (
        "AKA-107",
        (("Azure Cache for Redis is retiring",),),
        "This tenant can no longer create an Azure Cache for Redis.",
        "Set `broker.kind: managed_redis` in the environment file, then run step 3.",
        "azure/azure-cache-for-redis/retirement-faq",
    ),
    (
        "AKA-108",
        (("Redis Enterprise", "no longer supported"),),
        "The broker's SKU belongs to Redis Enterprise, which Azure no longer creates.",
        "Choose a Balanced_* SKU for the broker in the environment file, then run step 3.",
        "azure/redis/overview",
    ),
    (
        "AKA-109",
        (("NameNotAvailable",), ("AlreadyInUse",), ("NameAlreadyExists",), ("AlreadyTaken",), ("VaultAlreadyExists",)),
        "A name that must be unique in all of Azure is taken by another subscription.",
        "Set another name in the environment file, then run the step again.",
        "azure/azure-resource-manager/troubleshooting/error-reserved-resource-name",
    ),
    (
        "AKA-110",
        (("RequestDisallowedByPolicy",),),
        "An Azure Policy forbids the request.",
        "Request an exemption from the owner of the policy that the evidence names, or change the environment.",
        "azure/azure-resource-manager/troubleshooting/error-policy-requestdisallowedbypolicy",
    ),
    (
        "AKA-111",
        (("Subnet", "Full"),),
        "The subnet has no free addresses for more nodes.",
        "Enlarge the subnet or remove nodes; then run step 1.",
        "troubleshoot/azure/azure-kubernetes/error-codes/subnetisfull-error-upgrade",
    ),
    (
        "AKA-112",
        (("InsufficientSubnetSize",),),
        "The subnet is too small for the number of nodes.",
        "Give the cluster a larger subnet, or lower `cluster.node_pool.max_count`; then run step 1.",
        "troubleshoot/azure/azure-kubernetes/error-codes/insufficientsubnetsize-error-advanced-networking",
    ),
    (
        "AKA-113",
        (("AvailabilityZoneNotSupported",),),
        "The VM size is not available in one of the zones.",
        "Remove the zone from `cluster.node_pool.zones`, or choose another size; then run step 1.",
        "troubleshoot/azure/azure-kubernetes/error-codes/availabilityzonenotsupported-error",
    ),
    (
        "AKA-114",
        (("AKSCapacityHeavyUsage",),),
        "The region has no capacity for new clusters at present.",
        "Try again later, or choose another region in the environment file.",
        "troubleshoot/azure/azure-kubernetes/error-codes/akscapacityheavyusage-error",
    ),
    (
        "AKA-118",
        (("K8sVersionNotSupported",),),
        "The Kubernetes version is no longer available in this region.",
        "Set `cluster.kubernetes_version` to a version that `az aks get-versions` lists, then run step 1.",
        "azure/aks/supported-kubernetes-versions",
    ),
    (
        "AKA-119",
        (("throttled",),),
        "Azure throttles the subscription's requests.",
        "Wait some minutes, and find the tool that sends too many requests.",
        "azure/azure-resource-manager/management/request-limits-and-throttling",
    ),
):
    AZURE.text_rule(
        _name,
        *_words,
        cause=_cause,
        fix=_fix,
        effects=("AKA-115", "AKA-116", "AKA-801", *(("AKA-0",) if _name == "AKA-119" else ())),
        link=f"{_LEARN}{_page}",
    )


@AZURE.rule("AKA-100", effects=("AKA-115", "AKA-117", "AKA-0"), link=f"{_LEARN}azure/aks/start-stop-cluster")
def cluster_is_stopped(facts: Snapshot) -> Iterable[Cause]:
    """Find a stopped cluster."""
    if facts.azure.power == "Stopped":
        yield Cause("The cluster is stopped.", "Run `az aks start`, which takes about five minutes.", ["Stopped"])


@AZURE.rule("AKA-115", effects=("AKA-0",), link=f"{_LEARN}azure/azure-monitor/platform/activity-log")
def resource_has_failed(facts: Snapshot) -> Iterable[Cause]:
    """Find resources whose provisioning state is Failed or Canceled."""
    for status in facts.azure.resources.values():
        if status.state.lower() in ("failed", "canceled"):
            yield Cause(
                f"The last update of {status.title} failed in Azure.",
                "Find the reason in its activity log in the portal, then run the step again.",
                [f"{status.title}: {status.state}"],
            )


@AZURE.rule("AKA-116", effects=("AKA-206", "AKA-319", "AKA-309", "AKA-0", *DOWNSTREAM))
def resource_does_not_exist(facts: Snapshot) -> Iterable[Cause]:
    """Find resources of the steps that do not exist."""
    absent = {
        name: status
        for name, status in facts.azure.resources.items()
        if status.missing and not _has_specific_rule(facts, name, status)
    }
    if absent:
        titles = [status.title for status in absent.values()]
        yield Cause(
            f"{listed(titles)} {'does' if len(titles) == 1 else 'do'} not exist.",
            f"Run {_steps(absent)} to create what is missing. The activity log names who deleted it.",
            [f"{title} does not exist" for title in titles],
        )


def _has_specific_rule(facts: Snapshot, name: str, status: ResourceStatus) -> bool:
    if name == "key_vault.vault":
        return facts.azure.vault_deleted
    return name in _SPECIFIC_RESOURCES or status.kind in _SPECIFIC_KINDS


def _steps(names: Iterable[str]) -> str:
    steps = dict.fromkeys(name.partition(".")[0] for name in names)
    return f"the step{'s' if len(steps) > 1 else ''} {', '.join(steps)}"


@AZURE.rule("AKA-117", WARNING)
def resource_differs(facts: Snapshot) -> Iterable[Cause]:
    """Find resources that differ from the environment."""
    differing = {
        name: differences
        for name, status in facts.azure.resources.items()
        if status.exists and status.kind not in _SPECIFIC_KINDS
        if (differences := status.differences_without(*_SPECIFIC_DIFFERENCES))
    }
    if differing:
        titles = {name: facts.azure.resources[name].title for name in differing}
        yield Cause(
            f"{listed(list(titles.values()))} {'differs' if len(titles) == 1 else 'differ'} from the environment.",
            f"Run {_steps(differing)}, or set the value in the environment file.",
            [f"{titles[name]}: {difference}" for name, lines in differing.items() for difference in lines],
        )
