"""A folder whose files change atomically, like the kubelet's atomic writer for config maps and Secrets.

The files are in a folder named by time; `..data` links to it, and the visible names link through
`..data`: https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/util/atomic_writer.go
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Files = dict[str, tuple[bytes, int]]
"""Contents and modes by path."""

_DATA = "..data"


def write(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> bool:
    """Write exactly these files into the folder; return whether anything changed."""
    data = folder / _DATA
    if data.is_symlink() and _read(data) == dict(files):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S', time.gmtime())}.{time.time_ns() % 10**9}"
    for name, (content, mode) in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)
        path.chmod(mode)
    fresh.mkdir(exist_ok=True)
    before = data.readlink() if data.is_symlink() else None
    turn = folder / "..data_tmp"
    turn.unlink(missing_ok=True)
    turn.symlink_to(fresh.name)
    turn.replace(data)
    _show(folder, {name.partition("/")[0] for name in files})
    if before is not None:
        shutil.rmtree(folder / before, ignore_errors=True)
    return True


def _show(folder: Path, names: set[str]) -> None:
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")


def _read(data: Path) -> Files:
    files = (path for path in data.resolve().rglob("*") if path.is_file())
    base = data.resolve()
    return {str(path.relative_to(base)): (path.read_bytes(), path.stat().st_mode & 0o777) for path in files}
