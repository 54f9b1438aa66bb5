"""Microsoft.ContainerRegistry/registries/runs: the registry's own builds, from an uploaded source to an image.

https://learn.microsoft.com/rest/api/containerregistry/registries/schedule-run; the log's lines are those that
`az acr build` shows.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.backends.image_store import Images
from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import SUBSCRIPTION_ID
from rehearsal_cloud.kubernetes.images.builds import BuildFailed
from rehearsal_cloud.kubernetes.images.docker_build import BuildError, DockerBuild, unpacked
from rehearsal_cloud.resource_manager.resource_ids import ResourceId
from rehearsal_cloud.resource_manager.resource_types import Answer, Call, ResourceType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.backends.image_store import Image
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

_BUILD_SECONDS = 60.0


class RegistryRun(ResourceType):
    """A run; scheduleRun creates it, and the build updates it."""

    namespace = "Microsoft.ContainerRegistry"
    type = "registries/runs"
    tracked = False
    name_rule = r"[a-z0-9]{3,50}"

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Reject a direct creation."""
        del body, existing
        raise ServiceError(405, "MethodNotAllowed", f"The method {call.method} is not served at {call.id.path}.")

    def actions(self) -> Mapping[str, Callable[[Call, Document], Awaitable[Answer]]]:
        """Return the action that lists the log's URL."""
        return {"listLogSasUrl": _list_log_url}


async def upload_url(call: Call, document: Document) -> Answer:
    """Answer the upload URL of a build's source."""
    del document
    path = f"source/{datetime.now(UTC):%Y%m%d%H%M%S}/{secrets.token_hex(16)}.tar.gz"
    return Answer(
        {"uploadUrl": call.cloud.blobs.url(f"{_container(call.id.parent)}/{path}", "cw"), "relativePath": path}
    )


async def schedule_run(call: Call, document: Document) -> Answer:
    """Queue a build, and answer with its run. Raises ServiceError.

    Code and text of the refusal on free credit: https://github.com/Azure-Samples/azure-search-openai-demo/issues/2592
    """
    if not call.cloud.settings.acr_tasks:
        text = (
            f"ACR Tasks requests for the registry {document['name']} and {SUBSCRIPTION_ID} are not permitted. Please"
            " file an Azure support request at http://aka.ms/azuresupport for assistance."
        )
        raise ServiceError(400, "TasksOperationsNotAllowed", text)
    request = call.body
    if request.get("type") != "DockerBuildRequest":
        text = f"Run requests of type '{request.get('type')}' are not supported; use DockerBuildRequest."
        raise ServiceError(400, "InvalidParameter", text)
    missing = [field for field in ("sourceLocation", "dockerFilePath", "platform") if not request.get(field)]
    if missing:
        raise ServiceError(400, "InvalidParameter", f"The value of parameter {missing[0]} is missing or empty.")
    cloud, registry = call.cloud, ResourceId.parse(document["id"])
    assert registry is not None  # noqa: S101 - it is a document's own
    number = sum(
        resource["type"] == f"{RegistryRun.namespace}/{RegistryRun.type}"
        for resource in cloud.resources(document["id"])
    )
    rid = registry.child("runs", f"ca{number + 1}")
    now = datetime.now(UTC).isoformat()
    run = {
        "id": rid.path,
        "name": rid.name,
        "type": rid.full_type,
        "properties": {
            "runId": rid.name,
            "status": "Queued",
            "runType": "QuickBuild",
            "createTime": now,
            "lastUpdatedTime": now,
            "platform": {"os": request["platform"]["os"].lower(), "architecture": "amd64"},
            "isArchiveEnabled": bool(request.get("isArchiveEnabled")),
        },
        "_state": "Succeeded",
        "_secret": {"request": request},  # an argument may be one
    }
    with cloud.store.transaction():
        cloud.keep(run)
        cloud.operations.begin("action", call.id.path, 0, {"run": rid.key})
    return Answer(RegistryRun().view(run))


async def build(cloud: Cloud, run: str) -> None:
    """Run the build of a run's key; after a restart of the rehearsal it starts again."""
    document = cloud.store.get("resources", run)
    if document is not None:
        await _Run(cloud, document).go()


async def _list_log_url(call: Call, document: Document) -> Answer:
    return Answer({"logLink": call.cloud.blobs.url(_log(document), "r")})


class _Run:
    """A running build: its log, its status, and its image."""

    def __init__(self, cloud: Cloud, document: Document) -> None:
        self._cloud, self._document, self._log = cloud, document, _log(document)
        self._request: Document = document["_secret"]["request"]
        rid = ResourceId.parse(document["id"])
        self._registry = cloud.resource(rid.parent) if rid and rid.parent else None
        self._began = time.monotonic()

    async def go(self) -> None:
        """Build, push, and record the outcome."""
        if self._registry is None:
            return
        self._cloud.blobs.begin(self._log)
        self._keep(status="Running", startTime=datetime.now(UTC).isoformat())
        # Until an agent has the source.
        await asyncio.sleep(self._cloud.settings.scaled(_BUILD_SECONDS))
        try:
            image = await self._built(self._registry)
        except BuildError as fault:
            self._write(str(fault))
            self._say("Container failed during run: build. No retries remaining.")
            self._write("failed to run step ID: build: exit status 1\r\n")
            self._end("Failed", f"failed after {self._seconds}. Error: failed during run, err: exit status 1")
            return
        self._push(self._registry, image)
        self._end("Succeeded", f"was successful after {self._seconds}")

    async def _built(self, registry: Document) -> Image:
        self._say("Downloading source code...")
        source = self._cloud.blobs.file(
            f"{_container(ResourceId.parse(registry['id']))}/{self._request['sourceLocation']}"
        )
        if not source.is_file():
            raise BuildError(f"failed to download source code: {self._request['sourceLocation']}: 404")
        context = unpacked(source.read_bytes())
        self._say("Finished downloading source code")
        self._say(f"Logging in to registry: {registry['properties']['loginServer']}")
        self._say("Launching container with name: build")
        arguments = {argument["name"]: argument["value"] for argument in self._request.get("arguments") or []}
        build = DockerBuild(self._cloud.store, self._cloud.image_builds, registry, context, arguments, self._write)
        image = await build.run(self._request["dockerFilePath"])
        try:
            # Here, and not at the first pull: a failed installation is an error of the build.
            await self._cloud.image_builds.built(build.recipe, self._write)
        except BuildFailed as fault:
            raise BuildError(str(fault)) from None
        self._write(f"Successfully built {image.digest[7:19]}")
        return image

    def _push(self, registry: Document, image: Image) -> None:
        outputs = []
        for name in self._request.get("imageNames") or [] if self._request.get("isPushEnabled", True) else []:
            repository, _, tag = name.replace("{{.Run.ID}}", self._document["name"]).partition(":")
            host = registry["properties"]["loginServer"]
            Images(self._cloud.store, registry["id"]).put(repository, tag or "latest", image)
            self._write(f"{tag}: digest: {image.digest} size: {len(image.manifest)}")
            self._say(f"Successfully pushed image: {host}/{repository}:{tag}")
            outputs.append({"registry": host, "repository": repository, "tag": tag, "digest": image.digest})
        self._document["properties"]["outputImages"] = outputs

    def _end(self, status: str, text: str) -> None:
        self._write(f"Run ID: {self._document['name']} {text}")
        self._cloud.blobs.complete(self._log, {"Succeeded": "successful"}.get(status, status.lower()))
        self._keep(status=status, finishTime=datetime.now(UTC).isoformat())

    @property
    def _seconds(self) -> str:
        return f"{time.monotonic() - self._began:.0f}s"

    def _keep(self, **properties: Any) -> None:
        self._document["properties"] |= {**properties, "lastUpdatedTime": datetime.now(UTC).isoformat()}
        self._cloud.keep(self._document)

    def _say(self, text: str) -> None:
        self._write(f"{datetime.now(UTC):%Y/%m/%d %H:%M:%S} {text}")

    def _write(self, text: str) -> None:
        self._cloud.blobs.append(self._log, f"{text}\r\n")


def _container(registry: ResourceId | None) -> str:
    """Return the name of the blob container of a registry's sources and logs."""
    return f"registry-{registry.name.lower()}" if registry else ""


def _log(run: Document) -> str:
    rid = ResourceId.parse(run["id"])
    return f"{_container(rid.parent if rid else None)}/logs/{run['name']}/rawtext.log"
