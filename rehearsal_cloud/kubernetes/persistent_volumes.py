"""Persistent volumes on the node: the folder of each, and the arguments of its mount."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal_cloud.documents import Document

_GLOBAL_MOUNTS = "/var/lib/kubelet/plugins/kubernetes.io/csi/file.csi.azure.com"


def volume_folder(cluster_folder: Path, volume: str) -> Path:
    """Return the folder of a persistent volume."""
    return cluster_folder / "volumes" / volume


def mount_arguments(volume: Document) -> dict[str, str]:
    """Return the mount arguments of a persistent volume as the errors of the Azure Files driver show them."""
    source = volume["spec"]["csi"]
    identity: str = source["volumeHandle"]
    account, share = [*identity.split("#"), "", ""][1:3]
    return {
        "id": identity,
        "account": account,
        "share": share,
        "target": f"{_GLOBAL_MOUNTS}/{hashlib.sha256(identity.encode()).hexdigest()}/globalmount",
        "options": ",".join(volume["spec"].get("mountOptions") or []),
    }
