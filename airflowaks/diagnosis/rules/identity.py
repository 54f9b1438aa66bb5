"""The Secrets Store CSI driver and workload identity: how a secret gets from the vault into a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.applications import SIGN_IN_KINDS
from airflowaks.diagnosis.access import enable_secrets
from airflowaks.diagnosis.rules.rule import (
    DOWNSTREAM,
    WARNING,
    Cause,
    Section,
    components_of,
    differing,
    in_turn,
    missing,
)
from airflowaks.steps import airflow, cluster, key_vault, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

_SOURCES = ("event", "container")
_VAULT_SOURCES = (*_SOURCES, "resource")
_EFFECTS = ("AKA-319", "AKA-309", *DOWNSTREAM)
_EFFECTS_OF_OLD_SECRETS = ("AKA-807", "AKA-507", "AKA-603", "AKA-701", "AKA-707", "AKA-715", "AKA-003")
_ROTATION = ("enableSecretRotation", "rotationPollInterval")
# The diagnosis signs in to Airflow, database and broker with the vault's secrets.
_UNREAD = ("AKA-008", "AKA-003", "AKA-004", "AKA-006")
_DRIVER = "https://azure.github.io/secrets-store-csi-driver-provider-azure/docs/troubleshooting/"
_FEDERATION = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations"
IDENTITY = Section(*_SOURCES, effects=_EFFECTS, link=_DRIVER)
VAULT = Section()
"""After the rules of database and broker: they name what is wrong with a value."""


@IDENTITY.rule("AKA-301", remedy=workload_identity.identity)
def _pods_lack_the_vault_role(facts: Snapshot) -> Iterable[Cause]:
    lacking = missing(facts, "workload_identity.vault_access")
    words = (("Caller is not authorized to perform action",), ("ForbiddenByRbac",))
    yield Cause(
        "The pods' identity cannot read the vault: it lacks the role Key Vault Secrets User.",
        "Run step 5, which assigns the role. It takes effect within ten minutes; pods then start automatically.",
        [*lacking, *IDENTITY.lines(facts, *words)],
    )


@IDENTITY.rule("AKA-302", link=_FEDERATION, remedy=workload_identity.federation)
def _federated_credential_does_not_match(facts: Snapshot) -> Iterable[Cause]:
    words = (("AADSTS70021",), ("AADSTS700213",), ("AADSTS700211",))
    yield Cause(
        "Entra rejects the tokens of a service account: no federated credential matches their issuer and subject.",
        "Run step 5, which writes the credentials with the cluster's exact issuer, including its trailing slash.",
        [*facts.azure.deviations("federated credential"), *IDENTITY.lines(facts, *words)],
    )


IDENTITY.text_rules("AKA-303")
IDENTITY.text_rules("AKA-304", "AKA-305", remedy=workload_identity.service_accounts)


@IDENTITY.rule(
    "AKA-306",
    WARNING,
    effects=("AKA-807",),
    link="https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html",
    remedy=airflow.components,
)
def _pods_lack_the_identity_label(facts: Snapshot) -> Iterable[Cause]:
    own = ("airflow", cluster.SIGN_IN_ACCOUNT)
    pods = {name: pod for name, pod in facts.kubernetes.pods.items() if pod.service_account in own}
    unlabeled = {name: pod for name, pod in pods.items() if not pod.has_identity_label}
    yield Cause(
        "Pods lack the label azure.workload.identity/use, so they get no token of the identity.",
        "Run step 7, which sets the label on the pod template; on the Deployment itself it has no effect.",
        [f"pod {name} has no label azure.workload.identity/use" for name in unlabeled],
        frozenset(pod.component for pod in unlabeled.values()),
    )


@IDENTITY.rule("AKA-307", link="https://learn.microsoft.com/azure/aks/csi-secrets-store-driver", remedy=cluster.cluster)
def _driver_is_not_registered(facts: Snapshot) -> Iterable[Cause]:
    changed = differing(facts, "cluster.cluster", "addonProfiles")
    addon = [line for line in changed if not any(setting in line for setting in _ROTATION)]
    words = ("secrets-store.csi.k8s.io not found in the list of registered CSI drivers",)
    yield Cause(
        "The nodes have no Secrets Store CSI driver: the add-on is disabled or changed, or a node is tainted.",
        "Run step 1, which enables the add-on. On tainted nodes, give the driver's DaemonSet a toleration.",
        [*addon, *IDENTITY.lines(facts, words)],
    )


@IDENTITY.rule("AKA-308", effects=(*_EFFECTS, *_UNREAD), remedy=key_vault.vault)
def _vault_is_unreachable(facts: Snapshot) -> Iterable[Cause]:
    closed = differing(facts, "key_vault.vault", "publicNetworkAccess", "networkAcls")
    words = (
        ("keyvault", "context deadline exceeded"),
        ("ForbiddenByFirewall",),
        ("Public network access is disabled",),
    )
    yield Cause(
        "The nodes cannot reach the vault: its firewall or the nodes' outbound route blocks them.",
        "Run step 4, which enables the vault's public endpoint, or allow the nodes' address in its firewall.",
        [*closed, *IDENTITY.lines(facts, *words, sources=_VAULT_SOURCES)],
    )


IDENTITY.text_rules("AKA-309", remedy=airflow.components)


@IDENTITY.rule(
    "AKA-312",
    effects=(*_EFFECTS, *_UNREAD, "AKA-310"),
    link="https://learn.microsoft.com/azure/key-vault/general/key-vault-recovery",
    remedy=key_vault.secrets,
)
def _secret_is_missing(facts: Snapshot) -> Iterable[Cause]:
    secrets = [status for status in facts.azure.resources.values() if status.kind == "secret"]
    words = (("ObjectIsDeletedButRecoverable",), ("SecretNotFound",))
    yield Cause(
        "A secret of Airflow is not in the vault.",
        "Run step 4, which recovers a deleted secret and creates a missing one.",
        [
            *(f"{status.title} is not in the vault" for status in secrets if status.missing),
            *IDENTITY.lines(facts, *words, sources=_VAULT_SOURCES),
        ],
    )


@IDENTITY.rule("AKA-311", WARNING, effects=("AKA-310", *_EFFECTS_OF_OLD_SECRETS), remedy=cluster.cluster)
def _secret_is_stale(facts: Snapshot) -> Iterable[Cause]:
    rotation = differing(facts, "cluster.cluster", *_ROTATION)
    stale = [
        f"Secret {name}, key {key}: differs from the vault"
        for name, checksums in facts.kubernetes.synced.items()
        for key, checksum in checksums.items()
        if (current := facts.kubernetes.secrets.get(name, {}).get(key)) and current != checksum
    ]
    yield Cause(
        "A Secret in the cluster differs from the vault: the driver has not updated it."
        if stale
        else "The driver does not update the Secrets in the cluster every two minutes.",
        "Run step 1, which has the driver poll the vault every two minutes. If the Secrets still differ after that,"
        " read the driver's log in kube-system.",
        [*rotation, *([] if _other_values(facts) else stale)],
    )


@IDENTITY.rule(
    "AKA-310",
    WARNING,
    effects=_EFFECTS_OF_OLD_SECRETS,
    link="https://learn.microsoft.com/azure/aks/csi-secrets-store-configuration-options",
    remedy=airflow.components,
)
def _pods_have_old_secrets(facts: Snapshot) -> Iterable[Cause]:
    yield Cause(
        "A secret was rotated in the vault, but pods still have the old one: environment variables never refresh.",
        "Run step 7, which restarts the pods whose secrets changed.",
        [] if _other_values(facts) else _checksums(facts),
    )


def _checksums(facts: Snapshot) -> list[str]:
    statuses = facts.kubernetes.objects.values()
    return [f"{status.title}: {line}" for status in statuses for line in status.differing("checksum/secrets")]


def _other_values(facts: Snapshot) -> list[str]:
    """Return evidence for secrets of the vault whose value is another than step 4 writes: no pod should get it."""
    secrets = [status for status in facts.azure.resources.values() if status.kind == "secret"]
    return [f"{status.title}: {line}" for status in secrets for line in status.differing("value:")]


@VAULT.rule("AKA-317", WARNING, remedy=in_turn(key_vault.secrets, airflow.components))
def _vault_has_another_value(facts: Snapshot) -> Iterable[Cause]:
    values, checksums = _other_values(facts), _checksums(facts)
    yield Cause(
        "Pods that restart get another value of a secret from the vault than step 4 writes.",
        "Run step 4, which writes the secret, then step 7, which restarts the pods.",
        [*values, *checksums] if values and checksums else [],
    )


IDENTITY.text_rules("AKA-313", remedy=enable_secrets)


@IDENTITY.rule("AKA-314", remedy=workload_identity.service_accounts)
def _class_is_missing(facts: Snapshot) -> Iterable[Cause]:
    classes = [status for status in facts.kubernetes.objects.values() if status.kind == "SecretProviderClass"]
    absent = [f"{status.title} does not exist" for status in classes if status.missing]
    lines = IDENTITY.lines(facts, ("failed to get secretproviderclass",))
    yield Cause(
        "A SecretProviderClass that pods mount does not exist, so new pods cannot start.",
        "Run step 5, which creates the SecretProviderClasses.",
        [*absent, *lines],
        frozenset() if absent else components_of(lines),
    )


@IDENTITY.rule(
    "AKA-315",
    WARNING,
    effects=_UNREAD,
    link="https://learn.microsoft.com/azure/key-vault/general/rbac-guide",
    remedy=key_vault.vault,
)
def _operator_lacks_the_vault_role(facts: Snapshot) -> Iterable[Cause]:
    words = (("ForbiddenByRbac",), ("secret", "Caller is not authorized"))
    if lines := IDENTITY.lines(facts, *words, sources=("resource", "reading")):
        yield Cause(
            "You cannot read the vault's secrets, so the diagnosis can neither mask them in logs nor query Airflow.",
            "Run step 4, which assigns you Key Vault Secrets Officer, or request that role on the vault.",
            [*missing(facts, "key_vault.access"), *lines],
        )


@IDENTITY.rule(
    "AKA-316",
    link="https://learn.microsoft.com/entra/identity-platform/reference-error-codes",
    remedy=in_turn(cluster.sign_in, workload_identity.federation),
)
def _nobody_can_sign_in(facts: Snapshot) -> Iterable[Cause]:
    deviations = [line for kind in SIGN_IN_KINDS for line in facts.azure.deviations(kind)]
    yield Cause(
        "People cannot sign in to Airflow's pages with Entra, or have none of their rights there.",
        "Run step 1, which registers the application and assigns the groups, then step 5, which writes its credential."
        " What was not made here stays as it is: change it yourself.",
        # `flask_appbuilder/security/views.py` logs why Entra refused; one person without an assignment is no outage.
        [*deviations, *IDENTITY.lines(facts, ("Error authorizing OAuth access token", "AADSTS"), sources=("log",))],
        severity=None if deviations else WARNING,
    )


IDENTITY.text_rules("AKA-319")
