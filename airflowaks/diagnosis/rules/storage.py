"""Storage: why shares cannot be made or mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import CRITICAL, DOWNSTREAM, Cause, Section, lines, log_lines
from airflowaks.steps import volumes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

STORAGE = Section()
_SAID = ("event", "container")
_AFTER = ("AKA-406", "AKA-409", *DOWNSTREAM)
_FILES = "https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/storage/"
_MOUNT = f"{_FILES}fail-to-mount-azure-file-share"

for _name, _words, _cause, _fix in (
    (
        "AKA-401",
        (("mount error(13)",),),
        "The share refuses the nodes: a wrong or renewed account key, a subnet that is not allowed, or SMB encryption.",
        "Compare the key in the claim's Secret with the storage account's, and look at the account's networking.",
    ),
    (
        "AKA-402",
        (("mount error(2)",),),
        "The share does not exist, or port 445 towards it is blocked.",
        "Look for the share in the storage account, and let the nodes out on port 445.",
    ),
    (
        "AKA-403",
        (("Key based authentication is not permitted",), ("KeyBasedAuthenticationNotPermitted",)),
        "A policy forbids shared keys on the storage account, which SMB shares are mounted with.",
        "Exempt the account, use NFS shares, or identity-based SMB (role Storage File Data SMB MI Admin, SMBOauth on).",
    ),
    (
        "AKA-404",
        (("AzAuthenticatorLib",), ("Error getting Kerberos service ticket",)),
        "The nodes' identity may not mount the share: its role is wrong, or SMBOauth is off.",
        "Assign Storage File Data SMB MI Admin to the kubelet's identity, and switch SMBOauth on.",
    ),
    (
        "AKA-405",
        (("mount error(112)",), ("mount error(115)",), ("mount error(110)",)),
        "The storage account cannot be reached from the nodes.",
        "Check the account's firewall and private DNS zone, and that the nodes may go out on port 445.",
    ),
    (
        "AKA-409",
        (("FailedMount", "persistentvolumeclaim"), ("MountVolume.MountDevice failed",), ("FailedAttachVolume",)),
        "Pods cannot mount a share.",
        "See the message: it says what the driver or the share answered.",
    ),
):
    STORAGE.said(_name, CRITICAL, *_words, sources=_SAID, cause=_cause, fix=_fix, effects=_AFTER, link=_MOUNT)


@STORAGE.rule(
    "AKA-406",
    CRITICAL,
    effects=_AFTER,
    link="https://learn.microsoft.com/azure/aks/azure-csi-files-storage-provision",
    remedy=volumes.storage,
)
def claim_is_not_bound(facts: Snapshot) -> Iterable[Cause]:
    """Tell of claims that wait for their share."""
    claims = facts.kubernetes.claims
    pending = [name for name, one in claims.items() if one.phase == "Pending" and not one.waits_for_pod]
    if pending:
        said = log_lines(facts, ("ProvisioningFailed",), ("waiting for a volume to be created",), sources=("event",))
        yield Cause(
            "A claim waits for its share, which cannot be made.",
            "See the message for whether storage class, permission or quota is to blame; then run step 6.",
            [*(f"claim {name}: Pending" for name in pending), *lines(said)],
        )


@STORAGE.rule("AKA-407", CRITICAL, effects=_AFTER, link=_MOUNT)
def claim_is_lost(facts: Snapshot) -> Iterable[Cause]:
    """Tell of claims whose volume is gone."""
    if lost := [name for name, one in facts.kubernetes.claims.items() if one.phase == "Lost"]:
        yield Cause(
            "The volume of a claim is gone.",
            "Restore the share from its snapshots or soft delete; or delete the claim and run step 6 for an empty one.",
            [f"claim {name}: Lost" for name in lost],
        )


STORAGE.said(
    "AKA-408",
    CRITICAL,
    ("No space left on device",),
    ("Disk quota exceeded",),
    sources=("log", "task", "container"),
    cause="A share or a node's disk is full.",
    fix="Raise `airflow.files.logs_gb` or `dags_gb` and run step 6 (shares grow in place), or remove old logs.",
    effects=DOWNSTREAM,
    link="https://learn.microsoft.com/azure/storage/files/storage-files-planning",
)
