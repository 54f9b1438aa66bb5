"""A folder in a pod, such as the one of the DAGs, that is to hold the files of a folder on this machine.

Files go the way of `kubectl cp`: as a tar archive through a command in the pod, whatever is mounted there.
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
# Compiled by Python itself wherever it runs.
_LEFT_OUT = "__pycache__"
_LIST = f"""
import hashlib, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
files = (path for path in folder.rglob("*") if path.is_file() and "{_LEFT_OUT}" not in path.parts)
digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()[:{_DIGEST_LENGTH}]
print(json.dumps({{path.relative_to(folder).as_posix(): digest(path) for path in files}}))
"""


class PodFolder(Resource):
    """The files of a local folder, in a folder of a container that runs; files that only the pod has stay there."""

    kind = "folder"

    def __init__(self, session: Session, source: Path, pod: Reference | None, container: str, path: str) -> None:
        """Take the pod as None where none runs: then nothing is known of the folder."""
        super().__init__(session, path)
        self.source = source
        self.pod = pod
        self.container = container

    @property
    def id(self) -> str:
        """Return where it is, as `kubectl cp` writes it."""
        return f"{self.pod.namespace}/{self.pod.name}:{self.name}" if self.pod else self.name

    def read(self) -> Facts | None:
        """Return the files in the pod by their paths, each with the beginning of its SHA-256."""
        if self.pod is None:
            return None
        listed = command.run(self._kube, self.pod, ("python", "-c", _LIST, self.name), container=self.container)
        facts: Facts = json.loads(listed)
        return facts

    def desired(self) -> Facts:
        """Want the files that are here."""
        return {path: sha256(file.read_bytes()).hexdigest()[:_DIGEST_LENGTH] for path, file in self._files().items()}

    def write(self, facts: Facts | None) -> None:
        """Send the files that are not there, or different, in one archive."""
        if self.pod is None:
            raise MissingDependency(f"No pod that runs has {self.name}.", "Run the step again: it starts one to write.")
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
