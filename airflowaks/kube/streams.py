"""Two-way streams with a pod over a WebSocket, as `kubectl exec` and `kubectl port-forward` use them.

They need an event loop, which callers run in a separate thread (anyio's portal), because a notebook's thread has one
already. websockets' threaded client is unsuitable: it reads and writes one TLS connection in two threads, which OpenSSL
does not allow; if session tickets arrive during a write, the upgrade hangs.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts (streaming subresources), RFC 6455
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from airflowaks.cloud.answers import is_page, page_of
from airflowaks.cloud.cluster import SERVER_SCOPE
from airflowaks.kube.failures import failure, unreachable
from airflowaks.kube.kubelet import KUBELET_SECONDS, blame_node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.asyncio.client import ClientConnection

    from airflowaks.errors import KubernetesError
    from airflowaks.kube.client import Kube, Reference


async def open_stream(
    kube: Kube, pod: Reference, subresource: str, query: Sequence[tuple[str, str]], protocol: str
) -> ClientConnection:
    """Return a WebSocket to `exec` or `portforward` of a pod.

    Raises KubernetesError if the API refuses, or the API or the pod's node does not answer.
    """
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.typing import Subprotocol

    address, session = kube.address, kube.session
    path = await asyncio.to_thread(kube.path, pod)
    token = await asyncio.to_thread(session.token, SERVER_SCOPE)
    context = ssl.create_default_context(cadata=address.certificates)
    url = f"{address.server.replace('https', 'wss', 1)}{path}/{subresource}?{urlencode(query)}"
    try:
        return await connect(
            url,
            ssl=context,
            subprotocols=[Subprotocol(protocol)],
            additional_headers={"Authorization": f"Bearer {token}", **kube.headers},
            compression=None,
            # The environment's proxy, else the machine's; none for a cluster on this machine.
            proxy=None if address.is_local else session.connection.proxy or True,
            max_size=None,
            open_timeout=KUBELET_SECONDS,
        )
    except InvalidStatus as refused:
        status, body = refused.response.status_code, (refused.response.body or b"").decode(errors="replace")
        if is_page(refused.response.headers.get("Content-Type", "")):
            raise kube.behind(page_of(str(urlsplit(url).hostname), status, body)) from refused
        error: KubernetesError = failure(session, address.cluster, status, body)
    except (OSError, WebSocketException) as lost:
        error = unreachable(session, address.cluster, address.server, lost)
    raise await asyncio.to_thread(blame_node, kube, pod, error)
