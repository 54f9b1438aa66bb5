"""The API metrics.k8s.io, as metrics-server serves it to `kubectl top`.

https://github.com/kubernetes-sigs/metrics-server, pkg/api: a pod or node that is not measured is left out of lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.api import responses
from rehearsal_cloud.kubernetes.failures import method_not_allowed, not_found
from rehearsal_cloud.kubernetes.objects.selectors import FieldSelector, LabelSelector

if TYPE_CHECKING:
    from starlette.responses import Response

    from rehearsal_cloud.kubernetes.api.call import Call

GROUP = "metrics.k8s.io"
_MEASURED = {"PodMetrics": "Pod", "NodeMetrics": "Node"}


async def answer(call: Call) -> Response:
    """Answer what a pod or node uses, or all that are selected. Raises Failure (404, 405)."""
    if call.info.verb not in ("get", "list"):
        raise method_not_allowed()
    namespace = call.info.namespace
    documents = sorted(
        (
            document
            for document in await call.streams.usage(call.kind.kind)
            if not namespace or document["metadata"].get("namespace") == namespace
        ),
        key=lambda document: (document["metadata"].get("namespace", ""), document["metadata"]["name"]),
    )
    if call.info.verb == "list":
        labels, fields = (
            LabelSelector(call.query("labelSelector")),
            FieldSelector(call.query("fieldSelector"), call.kind),
        )
        selected = [document for document in documents if labels.matches(document) and fields.matches(document)]
        return responses.many(call, selected, {})
    name = call.info.name
    for document in documents:
        if document["metadata"]["name"] == name:
            return responses.single(call, document)
    measured = call.cluster.kinds.named(_MEASURED[call.kind.kind])
    if call.cluster.objects.get(measured.kind, name, namespace) is None:
        raise not_found(measured, name)
    raise not_found(call.kind, f"{namespace}/{name}" if namespace else name)
