"""Server-side printing: objects as the table that `kubectl get` shows.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.api.tables.cells import age, created
from rehearsal_cloud.kubernetes.api.tables.columns import NAME, PRINTERS, Column, Printer
from rehearsal_cloud.kubernetes.api.tables.json_paths import first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.kinds import Kind

_TABLE = re.compile(r"application/json\s*;(?=[^,]*\bas=Table\b)(?=[^,]*\bg=meta\.k8s\.io\b)(?=[^,]*\bv=v1\b)")
_PLAIN = Printer(
    (NAME, Column("Created At", "date")),
    lambda document: [document["metadata"]["name"], document["metadata"].get("creationTimestamp")],
)


def wants_table(accept: str) -> bool:
    """Tell whether an `Accept` header prefers a table, as kubectl's does."""
    first_choice = accept.partition(",")[0]
    return bool(_TABLE.match(first_choice.strip()))


def table(
    kind: Kind,
    documents: Sequence[Document],
    metadata: Document,
    *,
    printer_columns: Sequence[Document] = (),
    include: str = "Metadata",
    headed: bool = True,
) -> Document:
    """Return the objects as a table; `metadata` is the list's.

    `printer_columns` are the `additionalPrinterColumns` of a custom kind's version; `include` is the query's
    `includeObject` (None, Metadata or Object); only the first event of a watch is `headed` by the columns.
    """
    printer = _custom(printer_columns) if kind.custom else PRINTERS.get(kind.kind, _PLAIN)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [column.definition() for column in printer.columns] if headed else None,
        "rows": [{"cells": printer.cells(document)} | _included(document, include) for document in documents],
    }


def _included(document: Document, include: str) -> Document:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": document}
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": document["metadata"]}
    return {"object": partial}


def _custom(printer_columns: Sequence[Document]) -> Printer:
    if not printer_columns:
        return Printer(
            (NAME, Column("Age", "date")), lambda document: [document["metadata"]["name"], created(document)]
        )
    columns = [
        Column(column["name"], column["type"], format=column.get("format", ""), priority=column.get("priority", 0))
        for column in printer_columns
    ]
    return Printer(
        (NAME, *columns),
        lambda document: [
            document["metadata"]["name"],
            *(_custom_cell(document, column) for column in printer_columns),
        ],
    )


def _custom_cell(document: Document, column: Document) -> Any:
    value = first(document, column["jsonPath"])
    if value is None:
        return None
    match column["type"]:
        case "date":
            return age(value)
        case "integer":
            return int(value)
        case "number":
            return float(value)
        case "boolean":
            return bool(value)
    return value if isinstance(value, str) else str(value)
