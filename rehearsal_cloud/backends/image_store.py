"""The images of container registries: images importable from public registries, and each registry's content.

Images are real OCI images (https://github.com/opencontainers/image-spec) in miniature: the manifest, its digest and the
configuration follow the format; a public image has a single empty layer, and a build adds layers with its changes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.store import Store

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_AIRFLOW_TAG = re.compile(r"(?P<airflow>[23]\.\d+\.\d+)(-python(?P<python>3\.1\d))?")
_AIRFLOW_ENVIRONMENT = ("AIRFLOW_HOME=/opt/airflow", "HOME=/home/airflow", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1")
_DEFAULT_PYTHON = "3.12"
_LATEST = {"apache/airflow": ("3.3.2", "3.3.2-python3.11", "3.3.2-python3.12", "3.3.2-python3.13")}
_PYTHON_TAG = re.compile(r"latest|slim|3(\.\d+){0,2}(-slim)?")
_BUSYBOX_TAG = re.compile(r"latest|stable|1(\.\d+){0,2}")
_EMPTY_TAR = bytes(1024)


@dataclass(frozen=True)
class Image:
    """An image: its manifest and the manifest's blobs, by digest."""

    manifest: bytes
    blobs: dict[str, bytes]

    @property
    def digest(self) -> str:
        """Return the digest of the manifest, which identifies the image."""
        return digest(self.manifest)

    @property
    def configuration(self) -> Document:
        """Return the OCI configuration: variables, user, entry point, labels."""
        configuration: Document = json.loads(self.blobs[json.loads(self.manifest)["config"]["digest"]])
        return configuration

    @property
    def layers(self) -> list[bytes]:
        """Return the layers of a build."""
        return [self.blobs[layer["digest"]] for layer in json.loads(self.manifest)["layers"][1:]]

    def extended(self, config: Document, layers: Sequence[Layer]) -> Image:
        """Return the image of a build on this base: with a new `config`, and more layers."""
        before, manifest = self.configuration, json.loads(self.manifest)
        packed = [gzip.compress(layer.content, mtime=0) for layer in layers]
        history = [{"created_by": layer.created_by} for layer in layers]
        changed = {
            "config": config,
            "rootfs": {
                "type": "layers",
                "diff_ids": [*before["rootfs"]["diff_ids"], *(digest(layer.content) for layer in layers)],
            },
            "history": [*before.get("history", []), *history],
        }
        configuration = json.dumps(before | changed).encode()
        manifest["config"] = _descriptor(_CONFIG_TYPE, configuration)
        manifest["layers"] += [_descriptor(_LAYER_TYPE, content) for content in packed]
        blobs = {digest(content): content for content in (configuration, *packed)}
        kept = {
            name: blob for name, blob in self.blobs.items() if name != json.loads(self.manifest)["config"]["digest"]
        }
        return Image(json.dumps(manifest).encode(), kept | blobs)


@dataclass(frozen=True)
class Layer:
    """The layer of a build's instruction: the instruction, and a tar of its files."""

    created_by: str
    files: Mapping[str, bytes]

    @property
    def content(self) -> bytes:
        """Return the tar, reproducible for the same files."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path, content in sorted(self.files.items()):
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return packed.getvalue()


def public_image(registry: str, repository: str, tag: str) -> Image | None:
    """Return an image of a public registry, or None; Airflow, Python and busybox are available.

    `tag` may also be the digest of one of the newest images.
    """
    if registry.lower() not in DOCKER_HUB:
        return None
    if tag.startswith("sha256:"):
        candidates = filter(
            None, (public_image(registry, repository, latest) for latest in _LATEST.get(repository, ()))
        )
        return next((image for image in candidates if image.digest == tag), None)
    if repository == "apache/airflow" and (named := _AIRFLOW_TAG.fullmatch(tag)):
        return _airflow(named["airflow"], named["python"] or _DEFAULT_PYTHON)
    if repository == "library/python" and _PYTHON_TAG.fullmatch(tag):
        return _image({"Env": ["LANG=C.UTF-8"], "Cmd": ["python3"]}, {})
    if repository == "library/busybox" and _BUSYBOX_TAG.fullmatch(tag):
        return _image({"Cmd": ["sh"]}, {})
    return None


def _airflow(version: str, python: str) -> Image:
    config = {
        "User": "50000",
        "Env": [f"AIRFLOW_VERSION={version}", f"PYTHON_VERSION={python}", *_AIRFLOW_ENVIRONMENT],
        "Entrypoint": ["/usr/bin/dumb-init", "--", "/entrypoint"],
        "WorkingDir": "/opt/airflow",
        "Labels": {
            "org.apache.airflow.version": version,
            "org.apache.airflow.image": "airflow",
            "org.apache.airflow.distro": "debian",
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.title": "Production Airflow Image",
            "org.opencontainers.image.source": "https://github.com/apache/airflow",
        },
    }
    return _image(config, {"org.opencontainers.image.version": version})


def _image(config: Document, annotations: Document) -> Image:
    layer = gzip.compress(_EMPTY_TAR, mtime=0)
    about = {"architecture": "amd64", "os": "linux", "config": config}
    configuration = json.dumps({**about, "rootfs": {"type": "layers", "diff_ids": [digest(_EMPTY_TAR)]}}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(_CONFIG_TYPE, configuration),
        "layers": [_descriptor(_LAYER_TYPE, layer)],
        "annotations": annotations,
    }
    blobs = {digest(content): content for content in (configuration, layer)}
    return Image(json.dumps(manifest).encode(), blobs)


def digest(content: bytes) -> str:
    """Return the content's digest in the registries' format."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(media_type: str, content: bytes) -> Document:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


class Images:
    """The content of a registry; `registry_id` is its resource ID."""

    def __init__(self, store: Store, registry_id: str) -> None:
        self._store = store
        self._key = registry_id.lower()

    def repositories(self) -> list[str]:
        """Return the names of all repositories, in order."""
        return sorted({manifest["repository"] for manifest in self._store.scan("manifests", f"{self._key}/")})

    def manifests(self, repository: str) -> list[Document]:
        """Return the repository's manifests: `digest`, `content`, `blobs`, `created`."""
        return self._store.scan("manifests", f"{self._key}/{repository}@")

    def tags(self, repository: str) -> list[Document]:
        """Return the repository's tags: `name`, `digest`, `created`, `updated`."""
        return self._store.scan("tags", f"{self._key}/{repository}:")

    def tag(self, repository: str, name: str) -> Document | None:
        """Return a tag, or None."""
        return self._store.get("tags", f"{self._key}/{repository}:{name}")

    def manifest(self, repository: str, reference: str) -> Document | None:
        """Return the manifest that a tag or a digest names."""
        tag = None if reference.startswith("sha256:") else self.tag(repository, reference)
        manifest_digest = tag["digest"] if tag else reference
        return self._store.get("manifests", f"{self._key}/{repository}@{manifest_digest}")

    def image(self, repository: str, reference: str) -> Image | None:
        """Return the image that a tag or a digest names."""
        kept = self.manifest(repository, reference)
        if kept is None:
            return None
        return Image(kept["content"].encode(), {name: bytes.fromhex(blob) for name, blob in kept["blobs"].items()})

    def blob(self, repository: str, blob_digest: str) -> bytes | None:
        """Return the blob with this digest from any image in the repository."""
        contents = (
            manifest["blobs"][blob_digest]
            for manifest in self.manifests(repository)
            if blob_digest in manifest["blobs"]
        )
        content = next(contents, None)
        return None if content is None else bytes.fromhex(content)

    def put(self, repository: str, tag: str | None, image: Image) -> None:
        """Store an image, and point `tag`, if any, to it."""
        now = datetime.now(UTC).isoformat()
        existing = self.manifest(repository, image.digest)
        manifest = {
            "repository": repository,
            "digest": image.digest,
            "content": image.manifest.decode(),
            "blobs": {name: content.hex() for name, content in image.blobs.items()},
            "created": existing["created"] if existing else now,
        }
        with self._store.transaction():
            self._store.put("manifests", f"{self._key}/{repository}@{image.digest}", manifest)
            if tag is not None:
                before = self.tag(repository, tag) or {"created": now}
                named = {"name": tag, "digest": image.digest, "created": before["created"], "updated": now}
                self._store.put("tags", f"{self._key}/{repository}:{tag}", named)

    def delete_tag(self, repository: str, name: str) -> None:
        """Delete a tag; the image stays."""
        self._store.delete("tags", f"{self._key}/{repository}:{name}")

    def delete_manifest(self, repository: str, manifest_digest: str) -> None:
        """Delete an image with all its tags."""
        with self._store.transaction():
            for tag in self.tags(repository):
                if tag["digest"] == manifest_digest:
                    self.delete_tag(repository, tag["name"])
            self._store.delete("manifests", f"{self._key}/{repository}@{manifest_digest}")

    def clear(self) -> None:
        """Delete all images of the registry."""
        with self._store.transaction():
            self._store.delete_below("tags", f"{self._key}/")
            self._store.delete_below("manifests", f"{self._key}/")
