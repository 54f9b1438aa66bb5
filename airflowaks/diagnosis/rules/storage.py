"""Storage: why shares cannot be created or mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import DOWNSTREAM, Cause, Section
from airflowaks.steps import volumes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

_EFFECTS = ("AKA-406", "AKA-409", *DOWNSTREAM)
_FILES = "https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/storage/"
_MOUNT = f"{_FILES}fail-to-mount-azure-file-share"
STORAGE = Section("event", "container", effects=_EFFECTS, link=_MOUNT)

for _name, _words, _cause, _fix in (
    (
        "AKA-401",
        (("mount error(13)",),),
        "The share refuses the nodes: a wrong or rotated account key, a subnet that is not allowed, or SMB encryption.",
        "Compare the key in the claim's Secret with the storage account's, and check the account's networking.",
    ),
    (
        "AKA-402",
        (("mount error(2)",),),
        "The share does not exist, or port 445 to it is blocked.",
        "Check that the share exists in the storage account, and allow outbound traffic from the nodes on port 445.",
    ),
    (
        "AKA-403",
        (("Key based authentication is not permitted",), ("KeyBasedAuthenticationNotPermitted",)),
        "A policy forbids shared keys on the storage account, and SMB mounts need one.",
        "Exempt the account, use NFS shares, or identity-based SMB (role Storage File Data SMB MI Admin, SMBOauth on).",
    ),
    (
        "AKA-404",
        (("AzAuthenticatorLib",), ("Error getting Kerberos service ticket",)),
        "The nodes' identity cannot mount the share: its role is wrong, or SMBOauth is off.",
        "Assign Storage File Data SMB MI Admin to the kubelet identity, and enable SMBOauth.",
    ),
    (
        "AKA-405",
        (("mount error(112)",), ("mount error(115)",), ("mount error(110)",)),
        "The nodes cannot reach the storage account.",
        "Check the account's firewall and private DNS zone, and allow outbound traffic from the nodes on port 445.",
    ),
    (
        "AKA-409",
        (("FailedMount", "persistentvolumeclaim"), ("MountVolume.MountDevice failed",), ("FailedAttachVolume",)),
        "Pods cannot mount a share.",
        "Read the evidence: it has the answer of the CSI driver or of the share.",
    ),
):
    STORAGE.text_rule(_name, *_words, cause=_cause, fix=_fix)


@STORAGE.rule(
    "AKA-406", link="https://learn.microsoft.com/azure/aks/azure-csi-files-storage-provision", remedy=volumes.storage
)
def claim_is_not_bound(facts: Snapshot) -> Iterable[Cause]:
    """Find claims that wait for their share."""
    claims = facts.kubernetes.claims
    pending = [name for name, claim in claims.items() if claim.phase == "Pending" and not claim.waits_for_pod]
    if pending:
        words = (("ProvisioningFailed",), ("waiting for a volume to be created",))
        yield Cause(
            "A volume claim is pending: its share cannot be created.",
            "Check whether the evidence names the storage class, a permission or a quota; then run step 6.",
            [*(f"claim {name}: Pending" for name in pending), *STORAGE.lines(facts, *words, sources=("event",))],
        )


@STORAGE.rule("AKA-407")
def claim_is_lost(facts: Snapshot) -> Iterable[Cause]:
    """Find claims whose volume no longer exists."""
    yield Cause(
        "The volume of a claim no longer exists.",
        "Restore the share from a snapshot or from soft delete, or delete the claim and run step 6 for an empty share.",
        [f"claim {name}: Lost" for name, claim in facts.kubernetes.claims.items() if claim.phase == "Lost"],
    )


STORAGE.text_rule(
    "AKA-408",
    ("No space left on device",),
    ("Disk quota exceeded",),
    sources=("log", "task", "container"),
    cause="A share or the disk of a node is full.",
    fix="Raise `airflow.files.logs_gb` or `dags_gb` and run step 6, which grows shares in place, or delete old logs.",
    effects=DOWNSTREAM,
    link="https://learn.microsoft.com/azure/storage/files/storage-files-planning",
)
