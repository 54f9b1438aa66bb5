"""What an image is made of here: which packages its virtual environment holds, and how its programs are started.

What an image says of itself (variables, user, working directory) is in its OCI configuration; this is the rest. What
a build added to the image it began with is in its layers: files, and at PACKAGES the packages that it installed.
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
_AIRFLOW = ("apache-airflow[celery,fab,postgres]=={version}", "celery<5.7", "psycopg[binary]")
_AIRFLOW_FOLDERS = ("/opt/airflow", "/home/airflow")
# What the official image's /entrypoint does with its arguments, as far as a pod's specification can tell:
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
    """How to make an image's virtual environment: packages, programs of its own (name and text), folders it owns.

    With a `base`, its packages come on top of that one's, and there are `files` by their paths (without a `/` first).
    """

    name: str
    requirements: tuple[str, ...] = ()
    constraints: str = ""
    programs: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    base: Recipe | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    def with_layers(self, layers: Iterable[bytes]) -> Recipe:
        """Return the recipe of an image that a build made of this one by adding layers (tar, compressed by gzip)."""
        files: dict[str, bytes] = {}
        packages: dict[str, str] = {}
        for layer in layers:
            held = _unpacked(layer)
            added = held.pop(PACKAGES, b"").decode().split()
            packages |= {one.partition("==")[0]: one for one in added}
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
        members = [one for one in archive if one.isfile()]
        return {one.name: archive.extractfile(one).read() for one in members}  # type: ignore[union-attr]  # it is a file


def recipe_of(configuration: Document) -> Recipe:
    """Return the recipe of the image with that OCI configuration: Airflow's, or an environment without packages."""
    labels = configuration.get("config", {}).get("Labels") or {}
    version = labels.get(_AIRFLOW_VERSION)
    if version is None:
        return Recipe("python")
    constraints = resources.files(__package__) / "constraints" / f"apache-airflow-{version}.txt"
    return Recipe(
        f"apache-airflow-{version}",
        tuple(one.format(version=version) for one in _AIRFLOW),
        constraints.read_text() if constraints.is_file() else "",
        programs={"entrypoint": _AIRFLOW_ENTRYPOINT},
        folders=_AIRFLOW_FOLDERS,
    )
