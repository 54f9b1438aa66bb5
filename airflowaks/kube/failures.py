"""The mapping from errors of a cluster's API to the error tree.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflowaks.cloud.connection import AFTER_JOINING
from airflowaks.errors import ClusterUnreachable, FieldConflict, Forbidden, InvalidObject, KubernetesError
from airflowaks.kube.advice import advise

if TYPE_CHECKING:
    from airflowaks.session import Session

_LONGEST_REASON = 600
_UNTYPED = "failed to create typed patch object"
_FIELD_MANAGER_CONFLICT = "FieldManagerConflict"
# The kubelet's words, in an answer 400, for logs that do not exist: measured with 1.36.
_LOGS = {
    "is waiting to start": "Wait until the container has started; `kubectl describe pod` says what it waits for.",
    "previous terminated container": "Read the log of the present container: it was not restarted.",
    "a container name must be specified": "Name one of the containers.",
}
_MISSING_RIGHT = re.compile(r'cannot (\S+) resource "([^"]+)"')


def failure(session: Session, cluster: str, code: int, body: str, subject: str = "") -> KubernetesError:
    """Return the error of the tree for what the API of `cluster` answered about `subject`: mostly a Status object."""
    status = _status(body)
    reason = str(status.get("reason") or "")
    message = session.redactor.one_line(str(status.get("message") or reason or code), _LONGEST_REASON)
    causes = (status.get("details") or {}).get("causes") or []
    conflicts = [cause for cause in causes if cause.get("reason") == _FIELD_MANAGER_CONFLICT]
    if code == HTTPStatus.CONFLICT and conflicts:
        fields = "; ".join(f"{conflict['field']}: {conflict['message']}" for conflict in conflicts)
        fields = session.redactor.one_line(fields, _LONGEST_REASON)
        return FieldConflict(
            f"{subject} has fields that another tool manages: {fields}.",
            "Revert that tool's change, or set the manifest's value with it; then run the step again. The fix of"
            " AKA-807 in 08_troubleshooting shows these fields, and takes them over.",
            code,
            reason,
        )
    if _UNTYPED in message:
        # The API returns an internal error for a field that is not in the schema.
        code = HTTPStatus.UNPROCESSABLE_ENTITY
    error, answer = KubernetesError, f"refused the request ({reason or code})"
    action = "Fix the cause that the cluster's message names, then run the step again."
    denied = _MISSING_RIGHT.search(message)
    match code:
        case HTTPStatus.UNAUTHORIZED:
            error, answer = Forbidden, "rejects your token"
            action = f"Sign in to tenant {session.environment.tenant_id} with `az login`, then run the step again."
        case HTTPStatus.FORBIDDEN if not denied and (advice := advise("FailedCreate", message, "")):
            # Admission refuses with 403, as RBAC does, but no right is missing.
            action = advice
        case HTTPStatus.FORBIDDEN:
            error, answer = Forbidden, "refused the request"
            action = (
                f"Join the Entra group {session.environment.entra.admin_group}, or request the role Azure Kubernetes"
                f" Service RBAC Cluster Admin from its members; {AFTER_JOINING}"
            )
        case HTTPStatus.BAD_REQUEST if advice := next((_LOGS[words] for words in _LOGS if words in message), ""):
            action = advice
        case HTTPStatus.UNPROCESSABLE_ENTITY | HTTPStatus.BAD_REQUEST:
            error, answer = InvalidObject, "refused the request"
            action = "Correct the manifest, or the value in the environment file that fills it."
    failed = error(f"Cluster {cluster}: the API {answer}: {message}", action, code, reason)
    if code == HTTPStatus.FORBIDDEN and denied:
        failed.needs = f"{denied[1]} {denied[2]} in the cluster"
    return failed


def unreachable(session: Session, cluster: str, server: str, error: BaseException) -> ClusterUnreachable:
    """Return the error for an API that does not answer."""
    reason = session.redactor.one_line(str(getattr(error, "message", None) or error), _LONGEST_REASON)
    return ClusterUnreachable(
        f"Cluster {cluster}: the API at {server} does not answer: {reason}",
        f"Start it with `az aks start --name {cluster} --resource-group {session.environment.resource_group}`, or check"
        " `cluster.authorized_ip_ranges`, `proxy` and the network; then run the step again.",
    )


def silent_kubelet(cluster: str, node: str) -> KubernetesError:
    """Return the error for a node whose kubelet does not answer, though the API does."""
    return KubernetesError(
        f"Node {node} of cluster {cluster}: its kubelet does not answer, though the cluster's API does.",
        f"Run `kubectl describe node {node}`; AKS repairs a node that is not ready"
        " (https://learn.microsoft.com/azure/aks/node-auto-repair), then run the step again.",
    )


def _status(body: str) -> dict[str, Any]:
    """Return the Status object of an answer; a proxy answers with other text."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {"message": body}
