"""Failures: the API's error answers, as metav1.Status documents with the real messages.

https://github.com/kubernetes/apimachinery/blob/master/pkg/api/errors/errors.go
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rehearsal_cloud.documents import Document


class Kind(Protocol):
    """The names of a kind in messages (see `objects.kinds`)."""

    @property
    def group(self) -> str:
        """`apps`, or nothing for the core group."""

    @property
    def kind(self) -> str:
        """`Deployment`."""

    @property
    def plural(self) -> str:
        """`deployments`."""

    @property
    def resource(self) -> str:
        """`deployments.apps`."""


@dataclass(frozen=True)
class Cause:
    """A problem of an object: a `reason` such as FieldValueInvalid, and the path of the field."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        """Return the field and the message, as in an Invalid failure."""
        return f"{self.field}: {self.message}"


class Failure(Exception):
    """A metav1.Status with `status: Failure`."""

    def __init__(self, code: int, reason: str, message: str, details: Document | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Document:
        """Return the body of the answer."""
        status: Document = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        status |= {"reason": self.reason} if self.reason else {}
        status |= {"details": self.details} if self.details is not None else {}
        return {**status, "code": self.code}


def about(kind: Kind | None, name: str, **more: Any) -> Document:
    """Return the details of a failure about one object; what is empty is left out, as the server does."""
    details = {"name": name, "group": kind.group if kind else "", "kind": kind.plural if kind else "", **more}
    return {key: value for key, value in details.items() if value}


def not_found(kind: Kind, name: str) -> Failure:
    """Return the 404 for a missing object."""
    return Failure(404, "NotFound", f'{kind.resource} "{name}" not found', about(kind, name))


def no_such_path() -> Failure:
    """Return the 404 for an unknown path."""
    return Failure(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(kind: Kind, name: str) -> Failure:
    """Return the 409 for a name that is taken."""
    return Failure(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', about(kind, name))


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(kind: Kind, name: str, why: str = STALE, causes: Sequence[Cause] = ()) -> Failure:
    """Return the 409 for a write with a stale resource version."""
    text = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return Failure(409, "Conflict", text, about(kind, name, causes=_listed(causes)))


def apply_conflict(message: str, causes: Sequence[Cause]) -> Failure:
    """Return the 409 for an apply of fields that another manager owns."""
    return Failure(409, "Conflict", message, {"causes": _listed(causes)})


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> Failure:
    """Return the 422 for an object that breaks its kind's rules."""
    listed = aggregate(map(str, causes))
    qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = {"name": name, "group": kind.group, "kind": kind.kind, "causes": _listed(causes)}
    details = {key: value for key, value in details.items() if value}
    return Failure(422, "Invalid", f'{qualified} "{name}" is invalid: {listed}', details)


def forbidden(kind: Kind, name: str, why: str, causes: Sequence[Cause] = ()) -> Failure:
    """Return the 403 for a request that admission or authorization denies."""
    subject = f'{kind.resource} "{name}"' if name else kind.resource
    return Failure(403, "Forbidden", f"{subject} is forbidden: {why}", about(kind, name, causes=_listed(causes)))


def bad_request(message: str) -> Failure:
    """Return the 400 for an invalid request."""
    return Failure(400, "BadRequest", message)


def gone(message: str) -> Failure:
    """Return the 410 for an expired resource version."""
    return Failure(410, "Expired", message)


def too_large_version(requested: int, current: int) -> Failure:
    """Return the 504 for a future resource version."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    text = f"Timeout: Too large resource version: {requested}, current: {current}"
    return Failure(504, "Timeout", text, {"causes": [cause], "retryAfterSeconds": 1})


def method_not_allowed() -> Failure:
    """Return the 405 for a method that the path does not support."""
    return Failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media_type(message: str) -> Failure:
    """Return the 415 for an unsupported body format."""
    return Failure(415, "UnsupportedMediaType", message, {})


def not_acceptable(accepted: str) -> Failure:
    """Return the 406 for an unsupported answer format."""
    text = f"only the following media types are accepted: {accepted}"
    return Failure(406, "NotAcceptable", text)


def too_many_requests(message: str, causes: Sequence[Cause] = (), retry_after: int = 0) -> Failure:
    """Return the 429 for a request to retry later: an eviction that a disruption budget forbids."""
    details: Document = {"causes": _listed(causes)} if causes else {}
    return Failure(
        429, "TooManyRequests", message, details | ({"retryAfterSeconds": retry_after} if retry_after else {})
    )


def internal(message: str) -> Failure:
    """Return the 500 for an internal error."""
    text = f"Internal error occurred: {message}"
    return Failure(500, "InternalError", text, {"causes": [{"message": message}]})


def aggregate(errors: Iterable[str]) -> str:
    """Return several errors as one: Go's `utilerrors.NewAggregate`."""
    unique = list(dict.fromkeys(errors))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"


def _listed(causes: Sequence[Cause]) -> list[Document]:
    listed = ({"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes)
    return [{key: value for key, value in item.items() if value} for item in listed]
