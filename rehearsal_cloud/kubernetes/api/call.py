"""One authenticated and authorised request to a cluster's API: what handlers are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rehearsal_cloud.kubernetes.api.bodies import read
from rehearsal_cloud.kubernetes.failures import Cause, Failure

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.api.request_info import RequestInfo
    from rehearsal_cloud.kubernetes.auth.access import User
    from rehearsal_cloud.kubernetes.cluster import Cluster
    from rehearsal_cloud.kubernetes.objects.decoding import FieldValidation
    from rehearsal_cloud.kubernetes.objects.kinds import Kind

_VALIDATIONS = ("Ignore", "Warn", "Strict")


@dataclass(frozen=True)
class Call:
    """A request for a resource of a kind; `connection` is its Request, or the WebSocket of a stream."""

    cluster: Cluster
    connection: HTTPConnection
    user: User
    info: RequestInfo
    kind: Kind

    @property
    def request(self) -> Request:
        """Return the connection as the HTTP request that it is for all but streams."""
        return cast("Request", self.connection)

    def query(self, name: str, default: str = "") -> str:
        """Return a query parameter; of several, the last."""
        return self.connection.query_params.get(name, default)

    def flag(self, name: str) -> bool:
        """Return a query parameter that is true or false."""
        return self.query(name).lower() in ("1", "true")

    def options(self, subject: str) -> None:
        """Check the query of a write. Raises Failure (422) about `subject`: CreateOptions, PatchOptions and so on."""
        dry_run = self.connection.query_params.getlist("dryRun")
        if dry_run and set(dry_run) != {"All"}:
            listed = ", ".join(f'"{one}"' for one in dry_run)
            text = f'Unsupported value: []string{{{listed}}}: supported values: "All"'
            raise unsupported(subject, "dryRun", text)
        validation = self.query("fieldValidation", "Warn")
        if validation not in _VALIDATIONS:
            supported = ", ".join(f'"{one}"' for one in _VALIDATIONS)
            raise unsupported(
                subject, "fieldValidation", f'Unsupported value: "{validation}": supported values: {supported}'
            )

    @property
    def dry_run(self) -> bool:
        """Tell whether nothing is to be kept."""
        return bool(self.query("dryRun"))

    @property
    def field_validation(self) -> FieldValidation:
        """Return what is done about unknown fields."""
        return cast("FieldValidation", self.query("fieldValidation", "Warn"))

    @property
    def manager(self) -> str:
        """Return who writes: the field manager, or else the client's program."""
        return self.query("fieldManager") or self.connection.headers.get("user-agent", "").partition("/")[0][:128]

    async def document(self) -> tuple[Document, tuple[str, ...]]:
        """Return the body, as an object, and the paths that it names twice. Raises Failure (400, 415)."""
        body, duplicates = read(await self.request.body(), self.connection.headers.get("content-type", ""), self.kind)
        return body, duplicates

    def warn(self, texts: list[str]) -> None:
        """Have the answer carry warnings."""
        self.connection.state.warnings = [*self.warnings, *texts]

    @property
    def warnings(self) -> list[str]:
        """Return the warnings so far."""
        found: list[str] = getattr(self.connection.state, "warnings", [])
        return found


def unsupported(subject: str, field: str, message: str, reason: str = "FieldValueNotSupported") -> Failure:
    """Return the 422 for an option that is not one."""
    cause = Cause(reason, field, message)
    listed: list[dict[str, Any]] = [{"reason": reason, "message": message, "field": field}]
    details = {"group": "meta.k8s.io", "kind": subject, "causes": listed}
    return Failure(422, "Invalid", f'{subject}.meta.k8s.io "" is invalid: {cause}', details)
