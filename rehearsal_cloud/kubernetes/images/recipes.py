"""Recipes of images: the packages of their virtual environment, and their programs.

The OCI configuration has an image's variables, user and working directory; the recipe has the rest. An image's layers
have the additions of a build to its base: files, and at PACKAGES the installed packages.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rehearsal_cloud.documents import Document

PACKAGES = "var/lib/airflowaks/packages"
"""Where a layer lists the packages that it adds, as `name==version`: here they are in no layer, but in a folder."""
_AIRFLOW_VERSION = "org.apache.airflow.version"
# celery 5.7 breaks the Celery provider: "cannot import name 'retry' from 'celery.backends.database'".
# Of google-auth, an extra of the official image, people sign in with authlib, which fab alone does not require:
# https://github.com/apache/airflow/issues/64456.
_AIRFLOW = ("apache-airflow[celery,fab,google-auth,postgres]=={version}", "celery<5.7", "psycopg[binary]")
_AIRFLOW_FOLDERS = ("/opt/airflow", "/home/airflow")
# The official image's /entrypoint, as far as it matters to pods:
# https://airflow.apache.org/docs/docker-stack/entrypoint.html#executing-commands
_AIRFLOW_ENTRYPOINT = """\
#!/bin/sh
case "$1" in
    bash | python) exec "$@" ;;
    airflow) exec "$@" ;;
    *) exec airflow "$@" ;;
esac
"""


@dataclass(frozen=True)
class Recipe:
    """How to build an image's virtual environment: its packages, its programs (name and text), its folders.

    With a `base`, its packages come on top of the base's, and it has `files` by path (without a leading `/`).
    """

    name: str
    requirements: tuple[str, ...] = ()
    constraints: str = ""
    programs: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    base: Recipe | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    def with_layers(self, layers: Iterable[bytes]) -> Recipe:
        """Return the recipe of this image plus the layers of a build (tar, compressed by gzip)."""
        files: dict[str, bytes] = {}
        packages: dict[str, str] = {}
        for layer in layers:
            held = _unpacked(layer)
            added = held.pop(PACKAGES, b"").decode().split()
            packages |= {requirement.partition("==")[0]: requirement for requirement in added}
            files |= held
        if not packages and not files:
            return self
        content = [*packages.values(), *(f"{path} {_hash(text)}" for path, text in sorted(files.items()))]
        name = f"{self.name}-with-{_hash(json.dumps(content).encode())[:12]}"
        return replace(self, name=name, requirements=tuple(packages.values()), base=self, files=files)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _unpacked(layer: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]  # it is a file


def recipe_of(configuration: Document) -> Recipe:
    """Return the recipe of the image with this OCI configuration: Airflow's, or an environment without packages."""
    labels = configuration.get("config", {}).get("Labels") or {}
    version = labels.get(_AIRFLOW_VERSION)
    if version is None:
        return Recipe("python")
    constraints = resources.files(__package__) / "constraints" / f"apache-airflow-{version}.txt"
    return Recipe(
        f"apache-airflow-{version}",
        tuple(requirement.format(version=version) for requirement in _AIRFLOW),
        constraints.read_text() if constraints.is_file() else "",
        programs={"entrypoint": _AIRFLOW_ENTRYPOINT},
        folders=_AIRFLOW_FOLDERS,
    )
