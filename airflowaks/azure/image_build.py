"""Image builds in the registry itself (ACR Tasks): this machine needs no Docker and downloads no image.

https://learn.microsoft.com/azure/container-registry/container-registry-tasks-overview
"""

from __future__ import annotations

import io
import tarfile
from functools import cached_property
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflowaks.azure.arm import rest
from airflowaks.azure.registry import RegistryImage
from airflowaks.config.git import commit
from airflowaks.engine.polling import wait_until
from airflowaks.engine.times import timestamp
from airflowaks.errors import ImageBuildFailed

if TYPE_CHECKING:
    from pathlib import Path

    from azure.core import PipelineClient

    from airflowaks.azure.registry import ContainerRegistry, ImportedImage
    from airflowaks.engine.resource import Facts

DOCKERFILE = "Dockerfile"

_FINGERPRINT_LENGTH = 12
_BUILD_SECONDS = 3600
_LOG_LINES = 12
_PAUSE_SECONDS = 3.0
_ENDED = ("Succeeded", "Failed", "Canceled", "Error", "Timeout")


class BuildContext:
    """The files that an image is built from: those of a folder, without hidden files and Python's caches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Return the contents by their paths in the context, sorted."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        named = {path.relative_to(self.folder): path for path in paths}
        return {
            name.as_posix(): path.read_bytes()
            for name, path in named.items()
            if not any(part.startswith((".", "__pycache__")) for part in name.parts)
        }

    def fingerprint(self, *more: str) -> str:
        """Return a digest of the files' paths and contents, and of what else the image is made of."""
        parts = [part for name, content in self.files.items() for part in (name, sha256(content).hexdigest())]
        return sha256("\n".join([*parts, *more]).encode()).hexdigest()[:_FINGERPRINT_LENGTH]

    def archive(self) -> bytes:
        """Return the files as a gzip-compressed tar archive."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, content in self.files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o644
                archive.addfile(member, io.BytesIO(content))
        return packed.getvalue()


class BuiltImage(RegistryImage):
    """An image that the registry builds from a folder of files on the imported image.

    Its tag says what it was built from, so that the same files make no second image, and files as they were before
    name the image that they made then.
    """

    def __init__(self, registry: ContainerRegistry, context: BuildContext, base: ImportedImage) -> None:
        super().__init__(registry, f"build-{context.fingerprint(base.source)}", depends_on=[base])
        self.context, self.base = context, base

    def needs_rewrite(self, facts: Facts) -> bool:
        """Tell whether its base was imported again."""
        del facts
        return self.base.written

    def write(self, facts: Facts | None) -> None:
        """Upload the context, start the build and follow its log. Raises ImageBuildFailed with the log's end."""
        del facts
        tasks, place = self.session.registry_tasks, (self.registry.group, self.registry.name)
        source = tasks.registries.get_build_source_upload_url(*place, cls=rest)
        revision, dirty = commit()
        arguments = {
            "BASE": f"{self.base.id}@{self.base.require('digest')}",
            "REVISION": f"{revision}-dirty" if dirty else revision,
            "CREATED": timestamp(),
        }
        request: Any = {
            "type": "DockerBuildRequest",
            "sourceLocation": source["relativePath"],
            "dockerFilePath": DOCKERFILE,
            "imageNames": [self.name],
            "isPushEnabled": True,
            "platform": {"os": "Linux", "architecture": "amd64"},
            "arguments": [{"name": name, "value": value, "isSecret": False} for name, value in arguments.items()],
            "timeout": _BUILD_SECONDS,
        }
        with self.session.http_client(source["uploadUrl"]) as storage:
            self._upload(storage, source["uploadUrl"])
            run = tasks.registries.schedule_run(*place, request, cls=rest)["properties"]["runId"]
            self._follow(storage, run)

    def _upload(self, storage: PipelineClient[Any, Any], url: str) -> None:
        from azure.core.rest import HttpRequest

        self._learn(url)
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        request = HttpRequest("PUT", url, headers=headers, content=self.context.archive())
        storage.send_request(request).raise_for_status()

    def _follow(self, storage: PipelineClient[Any, Any], run: str) -> None:
        """Return once the run has succeeded; meanwhile `doing` is the last line of its log."""
        runs, place = self.session.registry_tasks.runs, (self.registry.group, self.registry.name)
        url, log = runs.get_log_sas_url(*place, run, cls=rest)["logLink"], bytearray()
        self._learn(url)

        def look() -> str:
            status = str(runs.get(*place, run, cls=rest)["properties"]["status"])
            log.extend(_read(storage, url, len(log)))
            self.activity = next(reversed(_lines(log)), status)
            return status

        status = wait_until(look, lambda now: now in _ENDED, _BUILD_SECONDS, longest_pause=_PAUSE_SECONDS)
        self.activity = ""
        if status != "Succeeded":
            end = "".join(f"\n  | {line}" for line in _lines(log)[-_LOG_LINES:])
            message = f"Image {self.id}: the build {run} is {status}:{end}"
            see = f"az acr task logs --registry {self.registry.name} --run-id {run}"
            folder = self.context.folder
            raise ImageBuildFailed(
                self.session.redactor.redact(message),
                f"Correct {folder} and run the step again; `{see}` prints the whole log.",
            )

    def _learn(self, url: str) -> None:
        """Treat the query of a blob's URL as a secret: it gives access to the blob."""
        self.session.redactor.learn(urlsplit(url).query)


def _read(storage: PipelineClient[Any, Any], url: str, start: int) -> bytes:
    """Return a log from the byte `start` on: nothing while the log does not exist or has not grown."""
    from azure.core.rest import HttpRequest

    response = storage.send_request(HttpRequest("GET", url, headers={"Range": f"bytes={start}-"}))
    if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        return b""
    response.raise_for_status()
    return bytes(response.read())


def _lines(log: bytearray) -> list[str]:
    return [line for line in log.decode(errors="replace").splitlines() if line.strip()]
