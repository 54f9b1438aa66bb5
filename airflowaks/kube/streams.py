"""Two-way streams with a pod over a WebSocket, as `kubectl exec` and `kubectl port-forward` have them.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts (streaming subresources), RFC 6455
"""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from airflowaks.kube.endpoint import SERVER_SCOPE
from airflowaks.kube.failures import failure, unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.sync.client import ClientConnection

    from airflowaks.kube.client import Kube, Reference


def open_stream(
    kube: Kube, pod: Reference, subresource: str, query: Sequence[tuple[str, str]], protocols: Sequence[str]
) -> ClientConnection:
    """Return a WebSocket to `exec` or `portforward` of a pod, in the first of `protocols` that the server speaks.

    Raises KubernetesError where it is refused.
    """
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    address, session = kube.address, kube.session
    context = ssl.create_default_context(cadata=address.certificates)
    url = f"{address.server.replace('https', 'wss', 1)}{kube.path(pod)}/{subresource}?{urlencode(query)}"
    try:
        return connect(
            url,
            ssl=context,
            subprotocols=[Subprotocol(one) for one in protocols],
            additional_headers={"Authorization": f"Bearer {session.token(SERVER_SCOPE)}"},
            compression=None,
            # A proxy of the environment, else one that the machine's settings name; none leads from here to here.
            proxy=None if address.is_local else session.connection.proxy or True,
            max_size=None,
        )
    except InvalidStatus as refused:
        body = refused.response.body or b""
        try:
            status = json.loads(body)
        except ValueError:
            status = {"message": body.decode(errors="replace")}
        raise failure(session, address.cluster, {"code": refused.response.status_code, **status}) from None
    except (OSError, WebSocketException) as error:
        raise unreachable(session, address.cluster, address.server, error) from error
