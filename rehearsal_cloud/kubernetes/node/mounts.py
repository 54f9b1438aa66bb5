"""A container's root folder: the image's folders, and the volumes at their mount paths."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.node.environment import ConfigFailed, expand
from rehearsal_cloud.kubernetes.node.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.volumes import Volumes

TERMINATION_LOG = "/dev/termination-log"


def container_paths(root: Path, container: Document, folders: Iterable[str]) -> Paths:
    """Return the absolute paths that belong to the container: the image's folders and the mount paths."""
    mounted = [mount["mountPath"] for mount in container.get("volumeMounts") or []]
    message = container.get("terminationMessagePath") or TERMINATION_LOG
    return Paths(root, [*folders, *mounted, message])


def furnish(
    paths: Paths, container: Document, volumes: Volumes, folders: Iterable[str], env: Mapping[str, str]
) -> None:
    """Create the root folder. Raises ConfigFailed where a mount fails."""
    for folder in folders:
        paths.real(folder).mkdir(parents=True, exist_ok=True)
    # A nested mount goes into the outer volume, so the outer mount must exist first.
    for mount in sorted(container.get("volumeMounts") or [], key=lambda mount: mount["mountPath"].count("/")):
        _mount(paths.real(mount["mountPath"].rstrip("/")), mount, volumes.place(mount["name"]), env)
    message = paths.real(container.get("terminationMessagePath") or TERMINATION_LOG)
    message.parent.mkdir(parents=True, exist_ok=True)
    message.touch()


def lay_out(files: Path, paths: Paths, container: Document) -> None:
    """Copy an image's files into the root folder, except those under a mounted volume."""
    mounts = [mount["mountPath"].strip("/") for mount in container.get("volumeMounts") or []]
    for file in files.rglob("*"):
        name = file.relative_to(files)
        if file.is_file() and not any(name.is_relative_to(mount) for mount in mounts):
            target = paths.real(str(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file)


def _mount(target: Path, mount: Document, place: Path, env: Mapping[str, str]) -> None:
    inner = expand(mount["subPathExpr"], env) if mount.get("subPathExpr") else mount.get("subPath", "")
    if ".." in inner.split("/") or inner.startswith("/"):
        raise ConfigFailed(f'failed to prepare subPath for volumeMount "{mount["name"]}": must not contain ".."')
    source = place / inner
    if inner and not source.exists():
        source.mkdir(parents=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    elif target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    elif target.exists():
        return  # an outer volume has content at this path, which stays visible
    if inner and source.resolve().parent.name.startswith("..") and source.is_file():
        shutil.copy(source.resolve(), target)  # such a mount stays as it was when the volume's files change
    else:
        target.symlink_to(source)
