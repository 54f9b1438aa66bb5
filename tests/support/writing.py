"""Writing to a cluster in all the ways there are: whole objects, applied configurations and patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import yaml

from rehearsal_cloud.kubernetes.objects.kinds import Kinds
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from tests.support.workspace import Document, Workspace

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
CASES = REPOSITORY / "tests/rehearsal_cloud/kubernetes/objects/cases"


def cases(name: str) -> list[Document]:
    """Read the cases of one topic."""
    found: list[Document] = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    return found


def object_of(api_version: str, kind: str, name: str = "it", **fields: Any) -> Document:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **fields.pop("metadata", {})}, **fields}


def path(space: Workspace, document: Document, *, below: str = "", collection: bool = False, **query: Any) -> str:
    kind = Kinds().of(document)
    root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
    scope = f"namespaces/{space.namespace}/" if kind.namespaced else ""
    name = "" if collection else document["metadata"]["name"]
    parts = "/".join(one for one in (root, f"{scope}{kind.plural}", name, below) if one)
    return f"{parts}?{urlencode(query)}" if query else parts


def create(space: Workspace, document: Document, **query: Any) -> Document:
    return space.call("POST", path(space, document, collection=True, **query), document)


def update(space: Workspace, document: Document, *, below: str = "", **query: Any) -> Document:
    return space.call("PUT", path(space, document, below=below, **query), document)


def read(space: Workspace, document: Document) -> Document:
    return space.call("GET", path(space, document))


def patch(
    space: Workspace, document: Document, change: Any, media: str = MERGE, *, below: str = "", **query: Any
) -> Document:
    return space.call("PATCH", path(space, document, below=below, **query), change, media)


def apply(
    space: Workspace, document: Document, manager: str = "one", *, force: bool = False, below: str = ""
) -> Document:
    query = {"fieldManager": manager, **({"force": "true"} if force else {})}
    return space.call("PATCH", path(space, document, below=below, **query), document, APPLY)


def owned(document: Document, manager: str) -> Document:
    """Return the fields that a manager owns, as the object says."""
    (fields,) = (one["fieldsV1"] for one in document["metadata"]["managedFields"] if one["manager"] == manager)
    return dict(fields)


def operations(document: Document) -> dict[str, str]:
    """Return how each manager got what it owns."""
    return {one["manager"]: one["operation"] for one in document["metadata"].get("managedFields", ())}
