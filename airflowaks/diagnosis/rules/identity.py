"""The Secrets Store CSI driver and workload identity: the way of a secret from the vault into a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import (
    CRITICAL,
    DOWNSTREAM,
    WARNING,
    Cause,
    Section,
    components,
    differing,
    lines,
    log_lines,
    missing,
)
from airflowaks.steps import airflow, cluster, key_vault, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.resource_status import ResourceStatus
    from airflowaks.diagnosis.facts.snapshot import Snapshot

IDENTITY = Section()
_SAID = ("event", "container")
_AFTER = ("AKA-319", "AKA-309", *DOWNSTREAM)
_OF_OLD_SECRETS = ("AKA-807", "AKA-507", "AKA-603", "AKA-701", "AKA-707", "AKA-715", "AKA-003")
_ROTATION = ("enableSecretRotation", "rotationPollInterval")
# Who diagnoses opens Airflow, database and broker with what the vault holds.
_UNREAD = ("AKA-008", "AKA-003", "AKA-004", "AKA-006")
_DRIVER = "https://azure.github.io/secrets-store-csi-driver-provider-azure/docs/troubleshooting/"
_FEDERATION = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations"


@IDENTITY.rule("AKA-301", CRITICAL, effects=_AFTER, link=_DRIVER, remedy=workload_identity.identity)
def pods_may_not_read_the_vault(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the pods' identity lacks its role at the vault."""
    lacking = missing(facts, "workload_identity.vault_access")
    said = log_lines(facts, ("Caller is not authorized to perform action",), ("ForbiddenByRbac",), sources=_SAID)
    if lacking or said:
        yield Cause(
            "The pods' identity may not read the vault: it lacks the role Key Vault Secrets User.",
            "Run step 5: it assigns the role, which is heeded within ten minutes; pods then start by themselves.",
            [*lacking, *lines(said)],
        )


@IDENTITY.rule("AKA-302", CRITICAL, effects=_AFTER, link=_FEDERATION, remedy=workload_identity.federation)
def federated_credential_does_not_match(facts: Snapshot) -> Iterable[Cause]:
    """Tell that Entra does not take the service accounts' tokens, for subject, audience or issuer."""
    federated = [one for one in facts.azure.resources.values() if one.kind == "federated credential"]
    wrong = [f"{one.title} does not exist" for one in federated if one.missing]
    wrong += [f"{one.title}: {each}" for one in federated for each in one.differences]
    said = log_lines(facts, ("AADSTS70021",), ("AADSTS700213",), ("AADSTS700211",), sources=_SAID)
    if wrong or said:
        yield Cause(
            "Entra does not take the tokens of a service account: no federated credential has its issuer and subject.",
            "Run step 5: it writes the credentials with the cluster's issuer to the letter, its trailing slash too.",
            [*wrong, *lines(said)],
        )


IDENTITY.said(
    "AKA-303",
    CRITICAL,
    ("AADSTS90061",),
    sources=_SAID,
    cause="Entra cannot reach the cluster's OIDC issuer.",
    fix="Open the issuer's /.well-known/openid-configuration: step 1's check does; wait where it was just enabled.",
    effects=_AFTER,
    link=_FEDERATION,
)
IDENTITY.said(
    "AKA-304",
    CRITICAL,
    ("AADSTS700016",),
    ("AADSTS7000215",),
    sources=_SAID,
    cause="Entra does not know the client ID that pods present.",
    fix="Run step 5: it writes the pods' identity into service accounts and SecretProviderClasses.",
    effects=(*_AFTER, "AKA-807"),
    link=_FEDERATION,
    remedy=workload_identity.service_accounts,
)
IDENTITY.said(
    "AKA-305",
    CRITICAL,
    ("nodePublishSecretRef secret is not set",),
    sources=_SAID,
    cause="A SecretProviderClass names no identity: its clientID is empty or misspelt.",
    fix="Run step 5: it writes the classes with the pods' identity.",
    effects=(*_AFTER, "AKA-807"),
    link=_DRIVER,
    remedy=workload_identity.service_accounts,
)


@IDENTITY.rule(
    "AKA-306",
    WARNING,
    effects=("AKA-807",),
    link="https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html",
    remedy=airflow.components,
)
def pods_lack_the_identity_label(facts: Snapshot) -> Iterable[Cause]:
    """Tell of pods to which workload identity gives nothing, because the label is not on the pod itself."""
    pods = {name: one for name, one in facts.kubernetes.pods.items() if one.service_account == "airflow"}
    if bare := {name: one for name, one in pods.items() if not one.has_identity_label}:
        yield Cause(
            "Pods lack the label azure.workload.identity/use, so they get no token of the identity.",
            "Run step 7: the label belongs on the pod template; on the Deployment it does nothing.",
            [f"pod {name} has no label azure.workload.identity/use" for name in bare],
            frozenset(one.component for one in bare.values()),
        )


@IDENTITY.rule(
    "AKA-307",
    CRITICAL,
    effects=_AFTER,
    link="https://learn.microsoft.com/azure/aks/csi-secrets-store-driver",
    remedy=cluster.cluster,
)
def driver_is_not_registered(facts: Snapshot) -> Iterable[Cause]:
    """Tell that nodes have no Secrets Store CSI driver."""
    changed = differing(facts, "cluster.cluster", "addonProfiles")
    off = [one for one in changed if not any(setting in one for setting in _ROTATION)]
    said = log_lines(
        facts, ("secrets-store.csi.k8s.io not found in the list of registered CSI drivers",), sources=_SAID
    )
    if off or said:
        yield Cause(
            "The nodes have no Secrets Store CSI driver: the add-on is off or changed, or a node is tainted.",
            "Run step 1: it enables the add-on; on tainted nodes the driver's DaemonSet needs a toleration.",
            [*off, *lines(said)],
        )


@IDENTITY.rule("AKA-308", CRITICAL, effects=(*_AFTER, *_UNREAD), link=_DRIVER, remedy=key_vault.vault)
def vault_lets_nobody_in(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the vault cannot be reached by the nodes."""
    closed = differing(facts, "key_vault.vault", "publicNetworkAccess", "networkAcls")
    said = log_lines(
        facts,
        ("keyvault", "context deadline exceeded"),
        ("ForbiddenByFirewall",),
        ("Public network access is disabled",),
        sources=(*_SAID, "resource"),
    )
    if closed or said:
        yield Cause(
            "The vault cannot be reached from the nodes: its firewall, or their way out, stops them.",
            "Run step 4, which opens the vault's public endpoint; else let the nodes' address in.",
            [*closed, *lines(said)],
        )


IDENTITY.said(
    "AKA-309",
    CRITICAL,
    ("CreateContainerConfigError", "secret", "not found"),
    ("CreateContainerConfigError", "couldn't find key"),
    sources=_SAID,
    cause="A Secret that pods read does not exist: it is there only while a pod mounts the vault's volume.",
    fix="Every pod that reads the Secret must mount its SecretProviderClass: run step 7, which has it so.",
    effects=DOWNSTREAM,
    remedy=airflow.components,
    link="https://learn.microsoft.com/azure/aks/csi-secrets-store-configuration-options",
)


@IDENTITY.rule(
    "AKA-312",
    CRITICAL,
    effects=(*_AFTER, *_UNREAD, "AKA-310"),
    link="https://learn.microsoft.com/azure/key-vault/general/key-vault-recovery",
    remedy=key_vault.secrets,
)
def secret_is_missing(facts: Snapshot) -> Iterable[Cause]:
    """Tell of secrets that are not in the vault, or are soft-deleted."""
    gone = [f"{one.title} is not in the vault" for one in facts.azure.resources.values() if _is_missing_secret(one)]
    said = log_lines(facts, ("ObjectIsDeletedButRecoverable",), ("SecretNotFound",), sources=(*_SAID, "resource"))
    if gone or said:
        yield Cause(
            "A secret of Airflow is not in the vault.",
            "Run step 4: it recovers one that was deleted, and makes one that never was.",
            [*gone, *lines(said)],
        )


def _is_missing_secret(one: ResourceStatus) -> bool:
    return one.kind == "secret" and one.missing


@IDENTITY.rule("AKA-311", WARNING, effects=("AKA-310", *_OF_OLD_SECRETS), link=_DRIVER, remedy=cluster.cluster)
def secret_is_not_the_vaults(facts: Snapshot) -> Iterable[Cause]:
    """Tell of Secrets in the cluster that hold something else than the vault, and of a driver that does not look."""
    seldom = differing(facts, "cluster.cluster", *_ROTATION)
    stale = [
        f"Secret {name}, key {key}: not what the vault holds"
        for name, wanted in facts.kubernetes.synced.items()
        for key, checksum in wanted.items()
        if (held := facts.kubernetes.secrets.get(name, {}).get(key)) and held != checksum
    ]
    if seldom or stale:
        yield Cause(
            "A Secret in the cluster is not what the vault holds: the driver has not brought it up to date."
            if stale
            else "The driver does not bring Secrets in the cluster up to date as it should.",
            "Run step 1: it has the driver look into the vault every two minutes; if it stays so after that, see the"
            " driver's own log in kube-system.",
            [*seldom, *stale],
        )


@IDENTITY.rule(
    "AKA-310",
    WARNING,
    effects=_OF_OLD_SECRETS,
    link="https://learn.microsoft.com/azure/aks/csi-secrets-store-configuration-options",
    remedy=airflow.components,
)
def pods_have_old_secrets(facts: Snapshot) -> Iterable[Cause]:
    """Tell of Deployments whose pods started with other versions of their secrets than the vault's."""
    old = [
        f"{one.title}: {each}"
        for one in facts.kubernetes.objects.values()
        for each in one.differing("checksum/secrets")
    ]
    if old:
        yield Cause(
            "A secret was rotated in the vault, and pods still have the old one: their environment never refreshes.",
            "Run step 7: it rolls the pods whose secrets are others.",
            old,
        )


IDENTITY.said(
    "AKA-313",
    CRITICAL,
    ("SecretDisabled",),
    ("not allowed on a disabled secret",),
    sources=(*_SAID, "resource"),
    cause="A secret of Airflow is disabled in the vault.",
    fix="Enable it with `az keyvault secret set-attributes --enabled true`.",
    effects=(*_AFTER, *_UNREAD),
    link="https://learn.microsoft.com/azure/key-vault/secrets/about-secrets",
)


@IDENTITY.rule("AKA-314", CRITICAL, effects=_AFTER, link=_DRIVER, remedy=workload_identity.service_accounts)
def class_is_missing(facts: Snapshot) -> Iterable[Cause]:
    """Tell of SecretProviderClasses that pods mount and that do not exist."""
    objects = facts.kubernetes.objects.values()
    gone = [f"{one.title} does not exist" for one in objects if one.kind == "SecretProviderClass" and one.missing]
    said = log_lines(facts, ("failed to get secretproviderclass",), sources=_SAID)
    if gone or said:
        yield Cause(
            "A SecretProviderClass that pods mount does not exist, so that none of them can start anew.",
            "Run step 5: it makes the classes.",
            [*gone, *lines(said)],
            frozenset() if gone else components(said),
        )


@IDENTITY.rule(
    "AKA-315",
    WARNING,
    effects=_UNREAD,
    link="https://learn.microsoft.com/azure/key-vault/general/rbac-guide",
    remedy=key_vault.vault,
)
def operator_may_not_read_the_vault(facts: Snapshot) -> Iterable[Cause]:
    """Tell that whoever diagnoses may not read secrets, so that less can be found out."""
    said = log_lines(
        facts, ("ForbiddenByRbac",), ("secret", "Caller is not authorized"), sources=("resource", "reading")
    )
    if said:
        yield Cause(
            "You may not read the vault's secrets, so neither logs can be checked for them nor Airflow be asked.",
            "Run step 4: it gives you Key Vault Secrets Officer, or ask for that role on the vault.",
            [*missing(facts, "key_vault.access"), *lines(said)],
        )


IDENTITY.said(
    "AKA-319",
    CRITICAL,
    ("FailedMount", "secrets-store"),
    ("FailedMount", "secrets store"),
    sources=_SAID,
    cause="Pods cannot mount their secrets.",
    fix="See the message: it says what the driver, Entra or the vault answered.",
    effects=("AKA-309", *DOWNSTREAM),
    link=_DRIVER,
)
