"""The mapping from errors of a cluster's API to the error tree.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflowaks.errors import ClusterUnreachable, FieldConflict, Forbidden, InvalidObject, KubernetesError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflowaks.session import Session

_LONGEST_REASON = 600
_UNTYPED = "failed to create typed patch object"
_FIELD_MANAGER_CONFLICT = "FieldManagerConflict"


def failure(session: Session, cluster: str, status: Mapping[str, Any], subject: str = "") -> KubernetesError:
    """Return the error of the tree for a Status object that the API of `cluster` returned about `subject`."""
    code, reason = int(status.get("code") or 0), str(status.get("reason") or "")
    message = _short(session.redactor.redact(str(status.get("message") or reason or code)))
    causes = (status.get("details") or {}).get("causes") or []
    conflicts = [cause for cause in causes if cause.get("reason") == _FIELD_MANAGER_CONFLICT]
    if code == HTTPStatus.CONFLICT and conflicts:
        fields = "; ".join(f"{conflict['field']}: {conflict['message']}" for conflict in conflicts)
        return FieldConflict(
            f"{subject} has fields that another tool manages: {_short(fields)}.",
            "Revert that tool's change, or set the manifest's value with it; then run the step again.",
            code,
            reason,
        )
    if _UNTYPED in message:
        # The API returns an internal error for a field that is not in the schema.
        code = HTTPStatus.UNPROCESSABLE_ENTITY
    match code:
        case HTTPStatus.UNAUTHORIZED:
            return Forbidden(
                f"Cluster {cluster}: the API rejects your token: {message}.",
                f"Sign in to tenant {session.environment.tenant_id} with `az login`, then run the step again.",
                code,
                reason,
            )
        case HTTPStatus.FORBIDDEN:
            return Forbidden(
                f"Cluster {cluster}: the API refused the request: {message}",
                f"Join the Entra group {session.environment.entra.admin_group}, or request the role Azure Kubernetes"
                " Service RBAC Cluster Admin from its members; then sign in again for a new token.",
                code,
                reason,
            )
        case HTTPStatus.UNPROCESSABLE_ENTITY | HTTPStatus.BAD_REQUEST:
            action = "Correct the manifest, or the value in the environment file that fills it."
            return InvalidObject(f"Cluster {cluster}: the API refused the request: {message}", action, code, reason)
    action = "Fix the cause that the cluster's message names, then run the step again."
    refused = f"Cluster {cluster}: the API refused the request ({reason or code}): {message}"
    return KubernetesError(refused, action, code, reason)


def unreachable(session: Session, cluster: str, server: str, error: BaseException) -> ClusterUnreachable:
    """Return the error for an API that does not answer."""
    reason = _short(session.redactor.redact(str(getattr(error, "message", None) or error)))
    return ClusterUnreachable(
        f"Cluster {cluster}: the API at {server} does not answer: {reason}",
        f"Start it with `az aks start --name {cluster} --resource-group {session.environment.resource_group}`, or check"
        " `cluster.authorized_ip_ranges`, `proxy` and the network; then run the step again.",
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
