"""Storage: why shares cannot be created or mounted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import DOWNSTREAM, Cause, Section, components_of
from airflowaks.steps import volumes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import LogLine, Snapshot

_EFFECTS = ("AKA-406", "AKA-409", "AKA-410", *DOWNSTREAM)
_FILES = "https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/storage/"
_MOUNT = f"{_FILES}fail-to-mount-azure-file-share"
# The kubelet's words, measured with 1.36; an attach names the volume alike.
_FAILED_MOUNT = re.compile(r'^Failed(Mount|AttachVolume): \w+\.\w+ failed for volume "(?P<volume>[^"]+)" : (?P<why>.+)')
_OF_THE_VAULT = re.compile("secrets[- ]store")
_LONGEST_REASON = 160
STORAGE = Section("event", "container", effects=_EFFECTS, link=_MOUNT)

STORAGE.text_rules("AKA-401", "AKA-402", "AKA-403", "AKA-404", "AKA-405")


@STORAGE.rule("AKA-409")
def _volume_is_not_mounted(facts: Snapshot) -> Iterable[Cause]:
    lines: dict[tuple[str, str], list[LogLine]] = {}
    for line in facts.log_lines:
        failed = _FAILED_MOUNT.search(" ".join(line.text.split()))
        if failed and line.source == "event" and not _OF_THE_VAULT.search(line.text):
            lines.setdefault((failed["volume"], failed["why"]), []).append(line)
    for (volume, why), evidence in lines.items():
        reason = why if len(why) <= _LONGEST_REASON else f"{why[:_LONGEST_REASON]}…"
        yield Cause(
            f"Pods cannot mount the volume {volume}: {reason.rstrip('.')}.",
            "Run step 7 for a ConfigMap, step 5 for a Secret, step 6 for a claim; a share's driver names the reason.",
            [line.excerpt(("volume",)) for line in evidence],
            components_of(evidence),
        )


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


STORAGE.text_rules("AKA-410", "AKA-408")
