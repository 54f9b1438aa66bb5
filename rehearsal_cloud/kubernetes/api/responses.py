"""Answers of the API: objects, lists and failures in the requested form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from rehearsal_cloud.kubernetes.api import tables
from rehearsal_cloud.kubernetes.objects.conversion import served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.api.call import Call
    from rehearsal_cloud.kubernetes.failures import Failure

_UNAUTHORIZED = 401


def wants_table(call: Call) -> bool:
    """Tell whether the client accepts a table."""
    return tables.wants_table(call.connection.headers.get("accept", ""))


def wants_metadata(call: Call) -> bool:
    """Tell whether the client accepts only the objects' metadata."""
    first = call.connection.headers.get("accept", "").partition(",")[0]
    return "as=PartialObjectMetadata" in first


def shown(call: Call, document: Document) -> Document:
    """Return an object in the requested form: in the version of the path, or only its metadata.

    What a subresource answers, such as a Scale, has a version of its own.
    """
    if wants_metadata(call):
        head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        return {**head, "metadata": document["metadata"]}
    return served(call.kind, document) if document.get("kind", call.kind.kind) == call.kind.kind else document


def single(call: Call, document: Document, status: int = 200) -> Response:
    """Return the answer with an object."""
    if wants_table(call):
        metadata = {"resourceVersion": document["metadata"].get("resourceVersion", "")}
        return JSONResponse(table(call, [document], metadata), status)
    return JSONResponse(shown(call, document), status)


def many(call: Call, documents: Sequence[Document], metadata: Document) -> Response:
    """Return the answer with a list."""
    if wants_table(call):
        return JSONResponse(table(call, documents, metadata))
    kind, version = f"{call.kind.kind}List", call.kind.api_version
    if wants_metadata(call):
        kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        items = [shown(call, document) for document in documents]
    else:
        # Items of a list do not repeat its version and kind, except those of custom kinds.
        bare = () if call.kind.custom else ("apiVersion", "kind")
        items = [
            {key: value for key, value in shown(call, document).items() if key not in bare} for document in documents
        ]
    return JSONResponse({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items})


def table(call: Call, documents: Sequence[Document], metadata: Document, *, headed: bool = True) -> Document:
    """Return objects as a table."""
    columns: list[Document] = []
    if call.kind.custom:
        definition = call.cluster.objects.get("CustomResourceDefinition", call.kind.resource) or {}
        versions = (definition.get("spec") or {}).get("versions") or ()
        columns = next(
            (
                version.get("additionalPrinterColumns") or []
                for version in versions
                if version["name"] == call.kind.version
            ),
            [],
        )
    include = call.query("includeObject", "Metadata")
    return tables.table(call.kind, documents, metadata, printer_columns=columns, include=include, headed=headed)


def refused(failure: Failure) -> Response:
    """Return the answer with a failure."""
    response = JSONResponse(failure.status(), failure.code)
    seconds = (failure.details or {}).get("retryAfterSeconds")
    if seconds:
        response.headers["retry-after"] = str(seconds)
    if failure.code == _UNAUTHORIZED:
        response.headers["www-authenticate"] = "Bearer"
    return response
