"""A folder in a pod, such as the DAGs folder, that mirrors a folder on this machine.

Files are copied as `kubectl cp` does: as a tar archive through a command in the pod.
"""

from __future__ import annotations

import io
import json
import tarfile
from hashlib import sha256
from typing import TYPE_CHECKING

from airflowaks.engine.resource import Facts, Resource
from airflowaks.errors import MissingDependency
from airflowaks.kube import exec as command
from airflowaks.kube.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflowaks.kube.client import Kube, Reference
    from airflowaks.session import Session

_CHUNK = 64 * 1024
_DIGEST_LENGTH = 12
# Python compiles these files again on any machine.
_LEFT_OUT = "__pycache__"
_LIST = f"""
import hashlib, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
files = (path for path in folder.rglob("*") if path.is_file() and "{_LEFT_OUT}" not in path.parts)
digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()[:{_DIGEST_LENGTH}]
print(json.dumps({{path.relative_to(folder).as_posix(): digest(path) for path in files}}))
"""


class PodFolder(Resource):
    """The files of a local folder in a folder of a running container; files that only the pod has are kept."""

    kind = "folder"

    def __init__(self, session: Session, source: Path, pod: Reference | None, container: str, path: str) -> None:
        """Create the resource; `pod` is None if no pod runs, and then the folder cannot be read."""
        super().__init__(session, path)
        self.source = source
        self.pod = pod
        self.container = container

    @property
    def id(self) -> str:
        """Return the folder's address in the notation of `kubectl cp`."""
        return f"{self.pod.namespace}/{self.pod.name}:{self.name}" if self.pod else self.name

    def read(self) -> Facts | None:
        """Return the files in the pod by path, each with the first digits of its SHA-256."""
        if self.pod is None:
            return None
        listed = command.run(self._kube, self.pod, ("python", "-c", _LIST, self.name), container=self.container)
        facts: Facts = json.loads(listed)
        return facts

    def desired(self) -> Facts:
        """Return the local files by path, each with the first digits of its SHA-256."""
        return {path: sha256(file.read_bytes()).hexdigest()[:_DIGEST_LENGTH] for path, file in self._files().items()}

    def write(self, facts: Facts | None) -> None:
        """Send the missing and changed files in one archive."""
        if self.pod is None:
            message = f"Folder {self.name}: no running pod mounts it."
            raise MissingDependency(message, "Run the step again, which starts a pod for the copy.")
        desired, present = self.desired(), facts or {}
        changed = [file for path, file in self._files().items() if present.get(path) != desired[path]]
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for file in changed:
                tar.add(file, file.relative_to(self.source).as_posix())
        extract = ("tar", "-xmof", "-", "-C", self.name)
        command.run(self._kube, self.pod, extract, container=self.container, stdin=_chunks(archive))

    @property
    def _kube(self) -> Kube:
        return self.session.memoize(connect)

    def _files(self) -> dict[str, Path]:
        files = (path for path in sorted(self.source.rglob("*")) if path.is_file() and _LEFT_OUT not in path.parts)
        return {path.relative_to(self.source).as_posix(): path for path in files}


def _chunks(archive: io.BytesIO) -> Iterator[bytes]:
    archive.seek(0)
    return iter(lambda: archive.read(_CHUNK), b"")
