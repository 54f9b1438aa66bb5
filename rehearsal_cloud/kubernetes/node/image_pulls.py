"""The container runtime's images: a pod's image reference, authorised, resolved and made ready to run.

The node asks registries as containerd does, with the kubelet identity's token from Entra, over HTTPS. Error texts are
containerd's (https://github.com/containerd/containerd/tree/main/core/remotes/docker), as users of AKS report them.
"""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from rehearsal_cloud import hosts
from rehearsal_cloud.backends.image_store import MANIFEST_TYPE, digest, public_image
from rehearsal_cloud.entra.directory import CONTAINER_REGISTRY
from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.kubernetes.images.builds import FILES, BuildFailed
from rehearsal_cloud.kubernetes.images.recipes import recipe_of
from rehearsal_cloud.kubernetes.outbound import Outbound, Reply, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.state import ClusterState

_DOCKER_HUB = "docker.io"
_DIGEST = r"sha256:[0-9a-f]{64}"
_REFERENCE = re.compile(
    r"(?P<repository>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
    rf"(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>{_DIGEST}))?"
)
_OK, _NOT_FOUND = 200, 404


class PullFailed(Exception):
    """An image cannot be pulled; `reason` is the container's waiting reason, `message` the kubelet's message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Image:
    """An image, ready to start containers.

    `folders` are absolute paths that belong to the image, not to the machine; `root` is its virtual environment.
    """

    reference: str
    digest: str
    environment: Mapping[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    workdir: str
    user: str
    folders: tuple[str, ...]
    root: Path

    @property
    def files(self) -> Path:
        """Return the folder with the image's files, if any."""
        return self.root / FILES

    @property
    def python(self) -> Path:
        """Return its Python interpreter."""
        return self.root / "bin" / "python"


@dataclass(frozen=True)
class _Reference:
    """A parsed image reference."""

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def version(self) -> str:
        return self.digest or self.tag

    def __str__(self) -> str:
        named = f"{self.registry}/{self.repository}"
        return f"{named}@{self.digest}" if self.digest else f"{named}:{self.tag}"


class Images:
    """The images of a cluster's node."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self._outbound = Outbound(cluster.cloud)

    async def pull(self, reference: str, *, progress: Callable[[str], None]) -> Image:
        """Return the runnable image; `progress` receives the messages of a build. Raises PullFailed."""
        named = _parsed(reference)
        content, configuration, layers = await self._fetched(named)
        recipe = recipe_of(configuration).with_layers(layers)
        try:
            root = await self._cluster.cloud.image_builds.built(recipe, progress)
        except BuildFailed as fault:
            text = f'failed to pull and unpack image "{named}": the rehearsal could not build it: {fault}'
            raise PullFailed("ErrImagePull", text) from None
        config: Document = configuration.get("config", {})
        variables = dict(variable.split("=", 1) for variable in config.get("Env") or [])
        entrypoint = tuple(config.get("Entrypoint") or ())
        if recipe.programs:
            entrypoint = tuple(str(root / "bin" / program) for program in recipe.programs)
        return Image(
            reference=str(named),
            digest=f"{named.registry}/{named.repository}@{content}",
            environment={
                **variables,
                "PATH": f"{root / 'bin'}{os.pathsep}{os.defpath}",
                "PYTHON_VERSION": platform.python_version(),
            },
            entrypoint=entrypoint,
            command=tuple(config.get("Cmd") or ()),
            workdir=config.get("WorkingDir") or "/",
            user=config.get("User") or "",
            folders=recipe.folders,
            root=root,
        )

    async def _fetched(self, named: _Reference) -> tuple[str, Document, list[bytes]]:
        """Return the manifest's digest, the OCI configuration, and the layers of a build."""
        if named.registry.endswith(f".{hosts.CONTAINER_REGISTRY}"):
            return await self._from_registry(named)
        image = public_image(named.registry, named.repository, named.tag)
        if image is None or (named.digest and named.digest != image.digest):
            raise _unresolved(named, f"{named}: not found")
        return image.digest, image.configuration, []

    async def _from_registry(self, named: _Reference) -> tuple[str, Document, list[bytes]]:
        base = f"https://{named.registry}/v2/{named.repository}"
        try:
            bearer = {"Authorization": f"Bearer {await self._access_token(named)}"}
            manifest = await self._outbound.get(
                f"{base}/manifests/{named.version}", {**bearer, "Accept": MANIFEST_TYPE}
            )
            if manifest.status == _NOT_FOUND:
                raise _unresolved(named, f"{named}: not found")
            _check(named, manifest, f"{base}/manifests/{named.version}")
            held = json.loads(manifest.body)
            # The first layer of every image is empty.
            configuration, *layers = [
                await self._blob(named, f"{base}/blobs/{blob['digest']}", bearer)
                for blob in (held["config"], *held["layers"][1:])
            ]
        except Unreachable as fault:
            text = f'failed to do request: Head "{base}/manifests/{named.version}": {fault}'
            raise _unresolved(named, text) from None
        return digest(manifest.body), json.loads(configuration), layers

    async def _blob(self, named: _Reference, url: str, bearer: dict[str, str]) -> bytes:
        reply = await self._outbound.get(url, bearer)
        _check(named, reply, url)
        return reply.body

    async def _access_token(self, named: _Reference) -> str:
        """Sign in to the registry as the credential provider of AKS's kubelet does, with the kubelet's identity."""
        cloud, registry = self._cluster.cloud, f"https://{named.registry}"
        identity = self._cluster.document["properties"].get("identityProfile", {}).get("kubeletidentity", {})
        principal = cloud.entra.principal(identity.get("objectId", ""))
        scope = f"repository:{named.repository}:pull"
        token_url = f"{registry}/oauth2/token?scope={quote(scope, safe='')}&service={named.registry}"
        form = {"service": named.registry, "scope": scope}
        if principal is None:
            raise _unauthorised(named, "anonymous", token_url, await self._outbound.get(token_url))
        # A machine gets its identity's token from the instance metadata service, outside of Azure's network.
        token = cloud.entra.mint(principal, CONTAINER_REGISTRY[0])
        signed_in = await self._outbound.post(
            f"{registry}/oauth2/exchange",
            {"grant_type": "access_token", "tenant": TENANT_ID, "access_token": token, **form},
        )
        if signed_in.status != _OK:  # the kubelet then has no credentials, and containerd tries without
            raise _unauthorised(named, "anonymous", token_url, await self._outbound.get(token_url))
        refresh = json.loads(signed_in.body)["refresh_token"]
        reply = await self._outbound.post(
            f"{registry}/oauth2/token", {"grant_type": "refresh_token", "refresh_token": refresh, **form}
        )
        if reply.status != _OK:
            raise _unauthorised(named, "oauth", token_url, reply)
        return str(json.loads(reply.body)["access_token"])


def _parsed(reference: str) -> _Reference:
    """Parse an image reference, with Docker's defaults (https://github.com/distribution/reference)."""
    first, slash, rest = reference.partition("/")
    registry, path = _DOCKER_HUB, reference
    if slash and (re.search(r"[.:]", first) or first == "localhost"):
        registry, path = first, rest
    named = _REFERENCE.fullmatch(path)
    if named is None:
        text = (
            f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": invalid'
            " reference format"
        )
        raise PullFailed("InvalidImageName", text)
    repository = named["repository"]
    if registry == _DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return _Reference(registry, repository, named["tag"] or "latest", named["digest"] or "")


def _unresolved(named: _Reference, why: str) -> PullFailed:
    text = f'failed to pull and unpack image "{named}": failed to resolve reference "{named}": {why}'
    return PullFailed("ErrImagePull", text)


def _unauthorised(named: _Reference, kind: str, url: str, reply: Reply) -> PullFailed:
    text = f"failed to authorize: failed to fetch {kind} token: unexpected status from GET request to {url}"
    return _unresolved(named, f"{text}: {reply.status_line}")


def _check(named: _Reference, reply: Reply, url: str) -> None:
    if reply.status != _OK:
        raise _unresolved(named, f"unexpected status from GET request to {url}: {reply.status_line}")
