"""Azure's control plane: refused requests, missing resources, a stopped cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.applications import SIGN_IN_KINDS
from airflowaks.diagnosis.power import start_cluster
from airflowaks.diagnosis.rules.rule import (
    DOWNSTREAM,
    NOTE,
    WARNING,
    Cause,
    Section,
    in_turn,
    listed,
    missing,
    sentence,
)
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
_SPECIFIC_KINDS = ("secret", "federated credential", "firewall rule", "resource provider", *SIGN_IN_KINDS)
_SPECIFIC_DIFFERENCES = (
    "publicNetworkAccess",
    "clusteringPolicy",
    "evictionPolicy",
    "accessKeysAuthentication",
    "addonProfiles",
)
_SKEW_SECONDS = 60.0
AZURE = Section(*_REQUESTS, "event")


@AZURE.rule("AKA-120", WARNING, link="https://www.rfc-editor.org/rfc/rfc9110#name-date")
def _this_clock_is_wrong(facts: Snapshot) -> Iterable[Cause]:
    ahead = facts.azure.ahead
    seen = f"this machine: {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} Azure Resource Manager's answer"
    yield Cause(
        "The clock of this machine is wrong, and with it what the diagnosis says of ages and periods.",
        "Set the clock (`timedatectl set-ntp true`; for WSL run `wsl --shutdown`), then diagnose again.",
        [seen] if abs(ahead) > _SKEW_SECONDS else [],
    )


@AZURE.rule(
    "AKA-101",
    effects=("AKA-115", "AKA-116"),
    link=f"{_LEARN}azure/azure-resource-manager/troubleshooting/error-register-resource-provider",
    remedy=cluster.providers,
)
def _provider_is_not_registered(facts: Snapshot) -> Iterable[Cause]:
    words = (("MissingSubscriptionRegistration",), ("SubscriptionNotRegistered",), ("not registered to use namespace",))
    yield Cause(
        "The subscription is not registered for a resource provider that the deployment needs.",
        "Run step 1, which registers the providers.",
        [*facts.azure.deviations("resource provider"), *AZURE.lines(facts, *words)],
    )


@AZURE.rule("AKA-102", effects=("AKA-115", "AKA-116", "AKA-801"), link=f"{_ERROR_CODES}error-code-quotaexceeded")
def _quota_is_exceeded(facts: Snapshot) -> Iterable[Cause]:
    words = (("exceeding approved", "quota"), ("QuotaExceeded",), ("InsufficientVCPUQuota",))
    if lines := AZURE.lines(facts, *words, sources=_REQUESTS):
        yield Cause(
            "A request exceeds the subscription's quota.",
            "Choose a smaller size or another region, or request more quota in the portal under Quotas.",
            [*lines, *_scarce_quotas(facts)],
        )


@AZURE.rule("AKA-103", NOTE, link=f"{_LEARN}azure/quotas/view-quotas")
def _quota_is_nearly_used_up(facts: Snapshot) -> Iterable[Cause]:
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


AZURE.text_rules("AKA-104", "AKA-105")


@AZURE.rule(
    "AKA-106",
    effects=("AKA-3", "AKA-0", *DOWNSTREAM),
    link=f"{_LEARN}azure/key-vault/general/key-vault-recovery",
    remedy=in_turn(key_vault.everything, workload_identity.identity),
)
def _vault_is_deleted(facts: Snapshot) -> Iterable[Cause]:
    deleted = missing(facts, "key_vault.vault") if facts.azure.vault_deleted else []
    words = ("vault with the same name already exists in deleted state",)
    yield Cause(
        "The key vault is soft-deleted: pods cannot read any secret.",
        "Run step 4, which recovers the vault with its secrets, then step 5, which assigns the pods' role. If the"
        " deleted vault is of another deployment, purge it instead.",
        [*deleted, *AZURE.lines(facts, words)],
    )


AZURE.text_rules("AKA-107", "AKA-108", "AKA-109", "AKA-110", "AKA-111")
AZURE.text_rules("AKA-112", "AKA-113", "AKA-114", "AKA-118", "AKA-119")


@AZURE.rule(
    "AKA-100",
    effects=("AKA-115", "AKA-117", "AKA-0"),
    link=f"{_LEARN}azure/aks/start-stop-cluster",
    remedy=start_cluster,
)
def _cluster_is_stopped(facts: Snapshot) -> Iterable[Cause]:
    if facts.azure.power == "Stopped":
        yield Cause(
            "The cluster is stopped.", "Ask who stopped it, or start it, which takes about five minutes.", ["Stopped"]
        )


@AZURE.rule(
    "AKA-121",
    effects=("AKA-115", "AKA-117"),
    link=f"{_LEARN}troubleshoot/azure/azure-kubernetes/create-upgrade-delete/error-code-poddrainfailure",
)
def _node_is_not_drained(facts: Snapshot) -> Iterable[Cause]:
    """AKS names the pod, and a page that is the same for each reason: https://stackoverflow.com/questions/74376920."""
    yield Cause(
        "An upgrade of the nodes stopped: a pod on a node did not end in time, or a disruption budget kept it.",
        "Wait until the pod has ended, or delete it. Run step 1, which sets how long a node waits. Then upgrade again.",
        AZURE.lines(facts, ("aka.ms/aks/debugdrainfailures",), sources=_REQUESTS),
    )


@AZURE.rule("AKA-115", effects=("AKA-0",), link=f"{_LEARN}azure/azure-monitor/platform/activity-log")
def _resource_has_failed(facts: Snapshot) -> Iterable[Cause]:
    for status in facts.azure.resources.values():
        if status.state.lower() in ("failed", "canceled"):
            yield Cause(
                f"The last update of {status.title} failed in Azure.",
                "Find the reason in its activity log in the portal, then run the step again.",
                [f"{status.title}: {status.state}"],
            )


@AZURE.rule("AKA-116", effects=("AKA-206", "AKA-316", "AKA-319", "AKA-309", "AKA-0", *DOWNSTREAM))
def _resource_does_not_exist(facts: Snapshot) -> Iterable[Cause]:
    absent = {
        name: status
        for name, status in facts.azure.resources.items()
        if status.missing and not _has_specific_rule(facts, name, status)
    }
    if absent:
        titles = [status.title for status in absent.values()]
        yield Cause(
            f"{sentence(listed(titles))} {'does' if len(titles) == 1 else 'do'} not exist.",
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
def _resource_differs(facts: Snapshot) -> Iterable[Cause]:
    differing = {
        name: differences
        for name, status in facts.azure.resources.items()
        if status.exists and status.kind not in _SPECIFIC_KINDS
        if (differences := status.differences_without(*_SPECIFIC_DIFFERENCES))
    }
    if differing:
        titles = {name: facts.azure.resources[name].title for name in differing}
        names = sentence(listed(list(titles.values())))
        yield Cause(
            f"{names} {'differs' if len(titles) == 1 else 'differ'} from the environment.",
            f"Run {_steps(differing)}, or set the value in the environment file.",
            [f"{titles[name]}: {difference}" for name, lines in differing.items() for difference in lines],
        )
