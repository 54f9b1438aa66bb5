"""Azure's control plane: what it refuses, what does not exist, what stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import (
    CRITICAL,
    DOWNSTREAM,
    NOTE,
    WARNING,
    Cause,
    Section,
    in_turn,
    lines,
    listed,
    log_lines,
    missing,
)
from airflowaks.steps import cluster, key_vault, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.azure import Quota
    from airflowaks.diagnosis.facts.resource_status import ResourceStatus
    from airflowaks.diagnosis.facts.snapshot import Snapshot

AZURE = Section()
_ASKED = ("operation", "resource", "reading")
_SAID = (*_ASKED, "event")
_LEARN = "https://learn.microsoft.com/"
_ERROR_CODES = f"{_LEARN}troubleshoot/azure/azure-kubernetes/error-codes/"
_NEARLY = 0.95
# What others rules look at more closely, or where another place tells the cause.
_OF_OTHERS = (
    "registry.pull_access",
    "registry.image",
    "backend.administrator",
    "key_vault.access",
    "workload_identity.vault_access",
    "backend.database",
)
_KINDS_OF_OTHERS = ("secret", "federated credential", "firewall rule", "resource provider")
_TOLD_CLOSER = (
    "publicNetworkAccess",
    "clusteringPolicy",
    "evictionPolicy",
    "accessKeysAuthentication",
    "addonProfiles",
)


@AZURE.rule(
    "AKA-101",
    CRITICAL,
    effects=("AKA-115", "AKA-116"),
    link=f"{_LEARN}azure/azure-resource-manager/troubleshooting/error-register-resource-provider",
    remedy=cluster.providers,
)
def provider_is_not_registered(facts: Snapshot) -> Iterable[Cause]:
    """Tell of resource providers that the subscription is not registered for."""
    unregistered = [
        f"{one.title}: {difference}"
        for one in facts.azure.resources.values()
        if one.kind == "resource provider"
        for difference in one.differences
    ]
    said = log_lines(facts, ("MissingSubscriptionRegistration",), ("not registered to use namespace",), sources=_SAID)
    if unregistered or said:
        yield Cause(
            "The subscription is not registered for a resource provider that the deployment needs.",
            "Run step 1: it registers the providers and waits for it.",
            [*unregistered, *lines(said)],
        )


@AZURE.rule(
    "AKA-102",
    CRITICAL,
    effects=("AKA-115", "AKA-116", "AKA-801"),
    link=f"{_ERROR_CODES}error-code-quotaexceeded",
)
def quota_is_used_up(facts: Snapshot) -> Iterable[Cause]:
    """Tell of a quota that a write was refused for."""
    said = log_lines(
        facts, ("exceeding approved", "quota"), ("QuotaExceeded",), ("InsufficientVCPUQuota",), sources=_ASKED
    )
    if said:
        used = [f"quota {name}: {one.used} of {one.limit}" for name, one in _scarce(facts)]
        yield Cause(
            "The subscription's quota does not allow what was asked for.",
            "Choose a smaller size or another region, or ask for more quota in the portal under Quotas.",
            [*lines(said), *used],
        )


@AZURE.rule("AKA-103", NOTE, link=f"{_LEARN}azure/quotas/view-quotas")
def quota_is_nearly_used_up(facts: Snapshot) -> Iterable[Cause]:
    """Tell of quotas that leave hardly any room to scale."""
    if used := [f"quota {name}: {one.used} of {one.limit}" for name, one in _scarce(facts)]:
        yield Cause(
            "A quota of the region is nearly used up, so that the cluster cannot add nodes for long.",
            "Ask for more in the portal under Quotas before the next roll-out needs it.",
            used,
        )


def _scarce(facts: Snapshot) -> list[tuple[str, Quota]]:
    return [(name, one) for name, one in facts.azure.quotas.items() if one.limit and one.used >= _NEARLY * one.limit]


AZURE.said(
    "AKA-104",
    CRITICAL,
    ("SkuNotAvailable",),
    ("Capacity Restrictions",),
    sources=_SAID,
    cause="The size of machine is not to be had in this region or zone.",
    fix="Choose another `cluster.node_pool.vm_size`, zone or region in the environment file, then run step 1.",
    effects=("AKA-115", "AKA-116", "AKA-801"),
    link=f"{_LEARN}azure/azure-resource-manager/troubleshooting/error-sku-not-available",
)
AZURE.said(
    "AKA-105",
    WARNING,
    ("PrincipalNotFound",),
    ("does not exist in the directory",),
    sources=_SAID,
    cause="Entra did not know a new principal yet when a role was assigned to it.",
    fix="Run the step again: it assigns the role with principalType and waits for Entra.",
    effects=("AKA-116",),
    link=f"{_LEARN}azure/role-based-access-control/troubleshooting",
)


@AZURE.rule(
    "AKA-106",
    CRITICAL,
    effects=("AKA-3", "AKA-0", *DOWNSTREAM),
    link=f"{_LEARN}azure/key-vault/general/key-vault-recovery",
    remedy=in_turn(key_vault.everything, workload_identity.identity),
)
def vault_is_deleted(facts: Snapshot) -> Iterable[Cause]:
    """Tell of a vault that is soft-deleted, or whose name such a one holds."""
    said = log_lines(facts, ("vault with the same name already exists in deleted state",), sources=_SAID)
    gone = missing(facts, "key_vault.vault") if facts.azure.vault_deleted else []
    if gone or said:
        yield Cause(
            "The key vault is soft-deleted: pods cannot read any secret.",
            "Run step 4: it recovers the vault with its secrets, then step 5 for who may read it; somebody else's of"
            " that name must be purged instead.",
            [*gone, *lines(said)],
        )


for _name, _words, _cause, _fix, _page in (
    (
        "AKA-107",
        (("Azure Cache for Redis is retiring",),),
        "This tenant may not create classic Azure Cache for Redis any more.",
        "Set `broker.kind: managed_redis` in the environment file, then run step 3.",
        "azure/azure-cache-for-redis/retirement-faq",
    ),
    (
        "AKA-108",
        (("Redis Enterprise", "no longer supported"),),
        "The broker's SKU is of Redis Enterprise, of which none is made any more.",
        "Choose a Balanced_* SKU for the broker in the environment file, then run step 3.",
        "azure/redis/overview",
    ),
    (
        "AKA-109",
        (("NameNotAvailable",), ("AlreadyInUse",), ("NameAlreadyExists",), ("AlreadyTaken",), ("VaultAlreadyExists",)),
        "A name that must be unique in all of Azure belongs to somebody else.",
        "Set another name in the environment file, then run the step again.",
        "azure/azure-resource-manager/troubleshooting/error-reserved-resource-name",
    ),
    (
        "AKA-110",
        (("RequestDisallowedByPolicy",),),
        "An Azure Policy forbids what was asked for.",
        "Ask the owner of the policy that the text names for an exemption, or change the environment to comply.",
        "azure/azure-resource-manager/troubleshooting/error-policy-requestdisallowedbypolicy",
    ),
    (
        "AKA-111",
        (("Subnet", "Full"),),
        "The subnet has no addresses left for more nodes.",
        "Enlarge the subnet, or take nodes away; then run step 1.",
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
        "The region does not have this size of machine in one of the zones.",
        "Take the zone out of `cluster.node_pool.zones`, or choose another size; then run step 1.",
        "troubleshoot/azure/azure-kubernetes/error-codes/availabilityzonenotsupported-error",
    ),
    (
        "AKA-114",
        (("AKSCapacityHeavyUsage",),),
        "The region has no capacity for new clusters at the moment.",
        "Wait, or choose another region in the environment file.",
        "troubleshoot/azure/azure-kubernetes/error-codes/akscapacityheavyusage-error",
    ),
    (
        "AKA-118",
        (("K8sVersionNotSupported",),),
        "The Kubernetes version is not offered in this region any more.",
        "Set `cluster.kubernetes_version` to one that `az aks get-versions` lists, then run step 1.",
        "azure/aks/supported-kubernetes-versions",
    ),
    (
        "AKA-119",
        (("throttled",),),
        "Azure asks to slow down: the subscription sends more requests than it may.",
        "Wait some minutes, and find out which other tool asks so much.",
        "azure/azure-resource-manager/management/request-limits-and-throttling",
    ),
):
    AZURE.said(
        _name,
        CRITICAL,
        *_words,
        sources=_SAID,
        cause=_cause,
        fix=_fix,
        effects=("AKA-115", "AKA-116", "AKA-801", *(("AKA-0",) if _name == "AKA-119" else ())),
        link=f"{_LEARN}{_page}",
    )


@AZURE.rule(
    "AKA-100",
    CRITICAL,
    effects=("AKA-115", "AKA-117", "AKA-0"),
    link=f"{_LEARN}azure/aks/start-stop-cluster",
)
def cluster_is_stopped(facts: Snapshot) -> Iterable[Cause]:
    """Tell of a cluster that is switched off."""
    if facts.azure.power == "Stopped":
        yield Cause("The cluster is stopped.", "Start it with `az aks start`; it takes some five minutes.", ["Stopped"])


@AZURE.rule("AKA-115", CRITICAL, effects=("AKA-0",), link=f"{_LEARN}azure/azure-monitor/platform/activity-log")
def resource_has_failed(facts: Snapshot) -> Iterable[Cause]:
    """Tell of resources whose last write failed on Azure's side."""
    for one in facts.azure.resources.values():
        if one.state.lower() in ("failed", "canceled"):
            yield Cause(
                f"The last write of {one.title} failed on Azure's side.",
                "See its activity log in the portal for the reason, then run the step again.",
                [f"{one.title}: {one.state}"],
            )


@AZURE.rule("AKA-116", CRITICAL, effects=("AKA-206", "AKA-319", "AKA-309", "AKA-0", *DOWNSTREAM))
def resource_does_not_exist(facts: Snapshot) -> Iterable[Cause]:
    """Tell of resources that the steps make and that are not there."""
    gone = {name: one for name, one in facts.azure.resources.items() if one.missing and _is_for_us(facts, name, one)}
    if gone:
        steps = ", ".join(dict.fromkeys(name.partition(".")[0] for name in gone))
        yield Cause(
            f"{listed([one.title for one in gone.values()])} {'does' if len(gone) == 1 else 'do'} not exist.",
            f"Run the steps of {steps}: they make what is missing. The activity log says who deleted it.",
            [f"{one.title} does not exist" for one in gone.values()],
        )


def _is_for_us(facts: Snapshot, name: str, one: ResourceStatus) -> bool:
    if name == "key_vault.vault":
        return not facts.azure.vault_deleted
    return name not in _OF_OTHERS and one.kind not in _KINDS_OF_OTHERS


@AZURE.rule("AKA-117", WARNING)
def resource_differs(facts: Snapshot) -> Iterable[Cause]:
    """Tell of resources that are not as the environment wants them."""
    differing: dict[str, list[str]] = {}
    for name, one in facts.azure.resources.items():
        left = [each for each in one.differences if not any(words in each for words in _TOLD_CLOSER)]
        if one.exists and left and one.kind not in _KINDS_OF_OTHERS:
            differing[name] = [f"{one.title}: {each}" for each in left]
    if differing:
        steps = ", ".join(dict.fromkeys(name.partition(".")[0] for name in differing))
        titles = [facts.azure.resources[name].title for name in differing]
        yield Cause(
            f"{listed(titles)} {'is' if len(titles) == 1 else 'are'} not as the environment wants.",
            f"Run the steps of {steps}, or put what you want into the environment file.",
            [line for lines_of in differing.values() for line in lines_of],
        )
