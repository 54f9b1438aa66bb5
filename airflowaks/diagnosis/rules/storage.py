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

STORAGE.text_rules("AKA-401", "AKA-402", "AKA-403", "AKA-404", "AKA-405", "AKA-409")


@STORAGE.rule(
    "AKA-406", link="https://learn.microsoft.com/azure/aks/azure-csi-files-storage-provision", remedy=volumes.storage
)
def _claim_is_not_bound(facts: Snapshot) -> Iterable[Cause]:
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
def _claim_is_lost(facts: Snapshot) -> Iterable[Cause]:
    yield Cause(
        "The volume of a claim no longer exists.",
        "Restore the share from a snapshot or from soft delete, or delete the claim and run step 6 for an empty share.",
        [f"claim {name}: Lost" for name, claim in facts.kubernetes.claims.items() if claim.phase == "Lost"],
    )


STORAGE.text_rules("AKA-408")
