"""Where the library could write a secret, as texts by their place: files, processes, Kubernetes objects, Azure."""

from __future__ import annotations

import json
import os
import threading
import zipfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from airflowaks.azure.arm import listed
from airflowaks.engine.times import timestamp
from airflowaks.errors import AirflowAksError
from airflowaks.kube.client import Reference, connect
from airflowaks.kube.kubelet import read_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.kube.client import Kube
    from airflowaks.session import Session

_PAUSE_SECONDS = 0.2
_LARGEST = 10_000_000
_DAY = timedelta(days=1)


class Watch:
    """Keeps, while it is entered, the argument lists of this process's children, and the files of a folder.

    What an environment variable holds is kept too: it is inherited by all that a child starts.
    """

    def __init__(self, folder: Path) -> None:
        self.texts: dict[str, str] = {}
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._over.wait(_PAUSE_SECONDS):
            for process in this.children(recursive=True):
                with suppress(psutil.Error):
                    words = [*process.cmdline(), *(f"{name}={value}" for name, value in process.environ().items())]
                    self.texts[f"process {' '.join(process.cmdline()[:4])}"] = "\n".join(words)
            self.texts |= files(self._folder)


def files(folder: Path) -> dict[str, str]:
    """Return what the files below a folder say, and the files in its archives.

    Files, folders (which `Path.rglob` does not take) and archives may come and go meanwhile.
    """
    texts = {}
    for path in (Path(place, name) for place, _, names in os.walk(folder) for name in names):
        with suppress(OSError, zipfile.BadZipFile):
            if not path.is_file() or path.stat().st_size > _LARGEST:
                continue
            texts[str(path)] = path.read_bytes().decode(errors="replace")
            if path.suffix == ".zip" and zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    members = {name: archive.read(name).decode(errors="replace") for name in archive.namelist()}
                    texts |= {f"{path}:{name}": text for name, text in members.items()}
    return texts


def azure(session: Session) -> dict[str, str]:
    """Return what Azure keeps of the environment: its resources and the activity log. It has no ARM deployments."""
    environment = session.environment
    group = environment.resource_group
    texts = {
        f"resource {resource.name}": json.dumps(resource.as_dict(), default=str)
        for resource in session.resources.resources.list_by_resource_group(group)
    }
    path = f"/subscriptions/{environment.subscription_id}/providers/Microsoft.Insights/eventtypes/management/values"
    now = datetime.now(UTC)
    query = f"eventTimestamp ge '{timestamp(now - _DAY)}' and eventTimestamp le '{now:%Y-%m-%dT%H:%M:%S.%fZ}'"
    query += f" and resourceGroupName eq '{group}'"
    events = listed(session, path, **{"api-version": "2015-04-01", "$filter": query})
    return texts | {"activity log": "\n".join(map(json.dumps, events))}


def cluster(session: Session) -> dict[str, str]:
    """Return each object of the cluster that is no Secret, and the log of each container."""
    kube = session.memoize(connect)
    texts = {}
    for api_version, resource in _resources(kube):
        for document in kube.each(api_version, resource["kind"]):
            texts[f"{resource['kind']} {document['metadata']['name']}"] = json.dumps(document)
    for pod in kube.each("v1", "Pod"):
        for container in pod["spec"]["containers"]:
            with suppress(AirflowAksError):
                log = read_log(kube, Reference.of({"apiVersion": "v1", "kind": "Pod", **pod}), container["name"])
                texts[f"log of {pod['metadata']['name']}/{container['name']}"] = log
    return texts


def _resources(kube: Kube) -> Iterator[tuple[str, dict[str, Any]]]:
    groups = kube.request("GET", "/apis")["groups"]
    roots = {"v1": "/api/v1"}
    roots |= {(version := group["preferredVersion"]["groupVersion"]): f"/apis/{version}" for group in groups}
    for api_version, root in roots.items():
        for resource in kube.request("GET", root)["resources"]:
            if "list" in resource["verbs"] and "/" not in resource["name"] and resource["kind"] != "Secret":
                yield api_version, resource
