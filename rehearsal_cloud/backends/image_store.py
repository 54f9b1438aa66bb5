"""The images of container registries: what can be imported from public registries, and what each registry holds.

Images are real OCI images (https://github.com/opencontainers/image-spec) in miniature: the manifest, its digest and the
configuration are true to the format; the one layer of a public one is empty, and a build's hold what it added.
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
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_AIRFLOW_TAG = re.compile(r"(?P<airflow>[23]\.\d+\.\d+)(-python(?P<python>3\.1\d))?")
_AIRFLOW_ENVIRONMENT = ("AIRFLOW_HOME=/opt/airflow", "HOME=/home/airflow", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1")
_DEFAULT_PYTHON = "3.12"
_LATEST = {"apache/airflow": ("3.3.2", "3.3.2-python3.11", "3.3.2-python3.12", "3.3.2-python3.13")}
_PYTHON_TAG = re.compile(r"latest|slim|3(\.\d+){0,2}(-slim)?")
_BUSYBOX_TAG = re.compile(r"latest|stable|1(\.\d+){0,2}")
_EMPTY_TAR = bytes(1024)


@dataclass(frozen=True)
class Image:
    """One image: its manifest and the blobs that the manifest names, by digest."""

    manifest: bytes
    blobs: dict[str, bytes]

    @property
    def digest(self) -> str:
        """Return the digest of the manifest, which is what identifies the image."""
        return digest(self.manifest)

    @property
    def configuration(self) -> Document:
        """Return the OCI configuration: variables, user, entry point, labels."""
        configuration: Document = json.loads(self.blobs[json.loads(self.manifest)["config"]["digest"]])
        return configuration

    @property
    def layers(self) -> list[bytes]:
        """Return the layers that a build has added."""
        return [self.blobs[one["digest"]] for one in json.loads(self.manifest)["layers"][1:]]

    def extended(self, config: Document, layers: Sequence[Layer]) -> Image:
        """Return the image that a build makes of this one: another `config`, and more layers."""
        before, manifest = self.configuration, json.loads(self.manifest)
        packed = [gzip.compress(one.content, mtime=0) for one in layers]
        history = [{"created_by": one.created_by} for one in layers]
        changed = {
            "config": config,
            "rootfs": {
                "type": "layers",
                "diff_ids": [*before["rootfs"]["diff_ids"], *(digest(one.content) for one in layers)],
            },
            "history": [*before.get("history", []), *history],
        }
        configuration = json.dumps(before | changed).encode()
        manifest["config"] = _descriptor(_CONFIG_TYPE, configuration)
        manifest["layers"] += [_descriptor(_LAYER_TYPE, one) for one in packed]
        blobs = {digest(one): one for one in (configuration, *packed)}
        kept = {
            name: blob for name, blob in self.blobs.items() if name != json.loads(self.manifest)["config"]["digest"]
        }
        return Image(json.dumps(manifest).encode(), kept | blobs)


@dataclass(frozen=True)
class Layer:
    """What one instruction of a build added: the instruction, and a tar of files by their paths."""

    created_by: str
    files: Mapping[str, bytes]

    @property
    def content(self) -> bytes:
        """Return the tar, the same for the same files."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path, content in sorted(self.files.items()):
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return packed.getvalue()


def public_image(registry: str, repository: str, tag: str) -> Image | None:
    """Return what a public registry holds under that name, or None: Airflow's, Python's and busybox's are here.

    `tag` may also be a digest, of the images that are newest here.
    """
    if registry.lower() not in _DOCKER_HUB:
        return None
    if tag.startswith("sha256:"):
        known = filter(None, (public_image(registry, repository, one) for one in _LATEST.get(repository, ())))
        return next((one for one in known if one.digest == tag), None)
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
    blobs = {digest(one): one for one in (configuration, layer)}
    return Image(json.dumps(manifest).encode(), blobs)


def digest(content: bytes) -> str:
    """Return the content's digest as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(media_type: str, content: bytes) -> Document:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


class Images:
    """What one registry holds; `registry_id` is its resource ID."""

    def __init__(self, store: Store, registry_id: str) -> None:
        self._store = store
        self._key = registry_id.lower()

    def repositories(self) -> list[str]:
        """Return the names of all repositories, in order."""
        return sorted({one["repository"] for one in self._store.scan("manifests", f"{self._key}/")})

    def manifests(self, repository: str) -> list[Document]:
        """Return the repository's manifests: `digest`, `content`, `blobs`, `created`."""
        return self._store.scan("manifests", f"{self._key}/{repository}@")

    def tags(self, repository: str) -> list[Document]:
        """Return the repository's tags: `name`, `digest`, `created`, `updated`."""
        return self._store.scan("tags", f"{self._key}/{repository}:")

    def tag(self, repository: str, name: str) -> Document | None:
        """Return one tag."""
        return self._store.get("tags", f"{self._key}/{repository}:{name}")

    def manifest(self, repository: str, reference: str) -> Document | None:
        """Return the manifest that a tag or a digest names."""
        tag = None if reference.startswith("sha256:") else self.tag(repository, reference)
        wanted = tag["digest"] if tag else reference
        return self._store.get("manifests", f"{self._key}/{repository}@{wanted}")

    def image(self, repository: str, reference: str) -> Image | None:
        """Return the image that a tag or a digest names."""
        kept = self.manifest(repository, reference)
        if kept is None:
            return None
        return Image(kept["content"].encode(), {one: bytes.fromhex(blob) for one, blob in kept["blobs"].items()})

    def blob(self, repository: str, wanted: str) -> bytes | None:
        """Return the blob of that digest, of whichever image in the repository."""
        found = (one["blobs"][wanted] for one in self.manifests(repository) if wanted in one["blobs"])
        content = next(found, None)
        return None if content is None else bytes.fromhex(content)

    def put(self, repository: str, tag: str | None, image: Image) -> None:
        """Keep an image, and let `tag`, if any, name it from now on."""
        now = datetime.now(UTC).isoformat()
        known = self.manifest(repository, image.digest)
        manifest = {
            "repository": repository,
            "digest": image.digest,
            "content": image.manifest.decode(),
            "blobs": {one: content.hex() for one, content in image.blobs.items()},
            "created": known["created"] if known else now,
        }
        with self._store.transaction():
            self._store.put("manifests", f"{self._key}/{repository}@{image.digest}", manifest)
            if tag is not None:
                before = self.tag(repository, tag) or {"created": now}
                named = {"name": tag, "digest": image.digest, "created": before["created"], "updated": now}
                self._store.put("tags", f"{self._key}/{repository}:{tag}", named)

    def delete_tag(self, repository: str, name: str) -> None:
        """Take a tag away; the image stays."""
        self._store.delete("tags", f"{self._key}/{repository}:{name}")

    def delete_manifest(self, repository: str, wanted: str) -> None:
        """Delete an image with all its tags."""
        with self._store.transaction():
            for tag in self.tags(repository):
                if tag["digest"] == wanted:
                    self.delete_tag(repository, tag["name"])
            self._store.delete("manifests", f"{self._key}/{repository}@{wanted}")

    def clear(self) -> None:
        """Delete everything, as when the registry goes."""
        with self._store.transaction():
            self._store.delete_below("tags", f"{self._key}/")
            self._store.delete_below("manifests", f"{self._key}/")
