"""One managed cluster: its API, its controllers and its node, behind the resource that Resource Manager shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.rehearsal.kubernetes.kinds import Kinds
from airflowaks.rehearsal.kubernetes.objects import Objects
from airflowaks.rehearsal.kubernetes.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from airflowaks.rehearsal.cloud import Cloud
    from airflowaks.rehearsal.kubernetes.access import Access
    from airflowaks.rehearsal.kubernetes.node import Node
    from airflowaks.rehearsal.kubernetes.schema import Schemas
    from airflowaks.rehearsal.store import Document


class Cluster:
    """What runs behind one managed cluster, in the rehearsal's own process and event loop."""

    cloud: Cloud
    document: Document
    folder: Path
    kinds: Kinds
    schemas: Schemas
    objects: Objects
    recorder: Recorder
    access: Access
    node: Node
    issuer: str
    port: int
    version: str

    def __init__(self, cloud: Cloud, document: Document) -> None:
        self.cloud = cloud
        self.document = document
        self.folder = cloud.home.services / f"kubernetes-{document['properties']['resourceUID']}"
        self.version = document["properties"]["currentKubernetesVersion"]
        properties = document["properties"]
        self.issuer = properties["oidcIssuerProfile"].get("issuerURL") or f"https://{properties['fqdn']}"

    async def start(self) -> None:
        """Serve the API, start the controllers and the node, and take up again what was there."""

    async def stop(self) -> None:
        """Stop all of it; nothing is forgotten."""

    async def destroy(self) -> None:
        """Stop all of it and remove all that it had. May be run twice."""
