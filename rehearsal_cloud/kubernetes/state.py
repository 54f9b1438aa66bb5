"""The state of a cluster, shared by its API, its controllers and its node."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.kinds import Kinds
from rehearsal_cloud.kubernetes.objects.objects import Objects
from rehearsal_cloud.kubernetes.objects.schema import Schemas
from rehearsal_cloud.kubernetes.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.cloud_services import CloudServices

    Admit = Callable[["ClusterState", Document, Document | None], Document]
    Review = Callable[["ClusterState", Document, Document | None], list[str]]


class ClusterState:
    """A cluster's cloud, its resource, its folder and its objects, which `admit` completes and `review` refuses."""

    def __init__(self, cloud: CloudServices, document: Document, admit: Admit, review: Review) -> None:
        self.cloud = cloud
        self._document = document
        properties = document["properties"]
        self.folder: Path = cloud.home.services / f"kubernetes-{properties['resourceUID']}"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.issuer: str = properties["oidcIssuerProfile"].get("issuerURL") or f"https://{properties['fqdn']}"
        self.port: int = document["_secret"].get("port", 0)
        """The loopback port of the API."""
        self.kinds = Kinds()
        self.schemas = Schemas()
        self.objects = Objects(
            self.folder / "objects.sqlite",
            self.kinds,
            self.schemas,
            partial(admit, self),
            partial(review, self),
            lambda: self.minor,
        )
        self.recorder = Recorder(self.objects)

    @property
    def document(self) -> Document:
        """Return the managed cluster's current or last resource."""
        self._document = self.cloud.store.get("resources", self._document["id"].lower()) or self._document
        return self._document

    @property
    def version(self) -> str:
        """Return the Kubernetes version: `1.35.1`."""
        version: str = self.document["properties"]["currentKubernetesVersion"]
        return version

    @property
    def minor(self) -> int:
        """Return the number of the minor version: 35."""
        return int(self.version.split(".")[1])
