"""What the API server asks of a node's kubelet: the logs of containers, and whose fault it is that nobody answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.errors import ClusterUnreachable, KubernetesError
from airflowaks.kube.failures import silent_kubelet

if TYPE_CHECKING:
    from airflowaks.kube.client import Kube, Reference

KUBELET_SECONDS = 8
"""How long a kubelet may be silent; the API server waits for it four times as long."""
_PORT = ":10250"
_REMOVED = "unable to retrieve container logs for "


def read_log(
    kube: Kube,
    pod: Reference,
    container: str,
    *,
    lines: int = 0,
    previous: bool = False,
    since: str = "",
    times: bool = False,
) -> str:
    """Return the log of a container, or its last `lines`; `previous` selects the run before the last restart.

    `since` (RFC 3339) omits older lines; `times` begins each line with its timestamp. A container that the kubelet has
    removed has no log: it answers with status 200 and a sentence, measured with 1.36. Raises KubernetesError.
    """
    query = {"container": container}
    query |= {"tailLines": str(lines)} if lines else {}
    query |= {"sinceTime": since} if since else {}
    query |= {"previous": "true"} if previous else {}
    query |= {"timestamps": "true"} if times else {}
    try:
        answer = kube.send(
            "GET", f"{kube.path(pod)}/log", query, read_timeout=KUBELET_SECONDS, retry_read=0, retry_status=0
        )
    except KubernetesError as error:
        raise blame_node(kube, pod, error) from error
    text = answer.text()
    return "" if text.startswith(_REMOVED) else text


def blame_node(kube: Kube, pod: Reference, error: KubernetesError) -> KubernetesError:
    """Return the error for a node whose kubelet does not answer, if that is why the API did not serve its pod."""
    if not isinstance(error, ClusterUnreachable) and _PORT not in error.message:
        return error
    try:
        document = kube.get(pod)
    except KubernetesError:
        return error  # the API itself does not answer
    return silent_kubelet(kube.address.cluster, document["spec"].get("nodeName", "")) if document else error
