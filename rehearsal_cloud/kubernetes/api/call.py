"""An authenticated and authorised request to a cluster's API, for the handlers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rehearsal_cloud.kubernetes.api.bodies import read
from rehearsal_cloud.kubernetes.failures import Cause, Failure

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.api.request_info import RequestInfo
    from rehearsal_cloud.kubernetes.auth.access import Access, User
    from rehearsal_cloud.kubernetes.node.streams import Streams
    from rehearsal_cloud.kubernetes.objects.decoding import FieldValidation
    from rehearsal_cloud.kubernetes.objects.kinds import Kind
    from rehearsal_cloud.kubernetes.state import ClusterState

_VALIDATIONS = ("", "Ignore", "Strict", "Warn")


@dataclass(frozen=True)
class Call:
    """A request for a resource of a kind; `connection` is its Request, or the WebSocket of a stream."""

    cluster: ClusterState
    access: Access
    streams: Streams
    connection: HTTPConnection
    user: User
    info: RequestInfo
    kind: Kind

    @property
    def request(self) -> Request:
        """Return the connection as an HTTP request; not for streams."""
        return cast("Request", self.connection)

    def query(self, name: str, default: str = "") -> str:
        """Return a query parameter; the last if repeated."""
        return self.connection.query_params.get(name, default)

    def flag(self, name: str) -> bool:
        """Return a boolean query parameter."""
        return self.query(name).lower() in ("1", "true")

    def options(self, subject: str) -> None:
        """Validate the query of a write. Raises Failure (422) about `subject`: CreateOptions, PatchOptions."""
        dry_run = self.connection.query_params.getlist("dryRun")
        if dry_run and set(dry_run) != {"All"}:
            text = f'Unsupported value: {json.dumps(dry_run)}: supported values: "All"'
            raise unsupported(subject, "dryRun", text)
        validation = self.query("fieldValidation", "Warn")
        if validation not in _VALIDATIONS:
            supported = ", ".join(f'"{value}"' for value in _VALIDATIONS)
            raise unsupported(
                subject, "fieldValidation", f'Unsupported value: "{validation}": supported values: {supported}'
            )

    @property
    def dry_run(self) -> bool:
        """Tell whether the write is a dry run."""
        return bool(self.query("dryRun"))

    @property
    def field_validation(self) -> FieldValidation:
        """Return the mode of field validation."""
        return cast("FieldValidation", self.query("fieldValidation") or "Warn")

    @property
    def manager(self) -> str:
        """Return the field manager: the query's, or the client's program."""
        return self.query("fieldManager") or self.connection.headers.get("user-agent", "").partition("/")[0][:128]

    async def document(self) -> tuple[Document, tuple[str, ...]]:
        """Return the body as an object, and the paths of its duplicate fields. Raises Failure (400, 415)."""
        body, duplicates = read(await self.request.body(), self.connection.headers.get("content-type", ""), self.kind)
        return body, duplicates

    def warn(self, texts: list[str]) -> None:
        """Add warnings to the answer."""
        self.connection.state.warnings = [*self.warnings, *texts]

    @property
    def warnings(self) -> list[str]:
        """Return the warnings so far."""
        texts: list[str] = getattr(self.connection.state, "warnings", [])
        return texts


def unsupported(subject: str, field: str, message: str, reason: str = "FieldValueNotSupported") -> Failure:
    """Return the 422 for an invalid option."""
    cause = Cause(reason, field, message)
    listed: list[dict[str, Any]] = [{"reason": reason, "message": message, "field": field}]
    details = {"group": "meta.k8s.io", "kind": subject, "causes": listed}
    return Failure(422, "Invalid", f'{subject}.meta.k8s.io "" is invalid: {cause}', details)
