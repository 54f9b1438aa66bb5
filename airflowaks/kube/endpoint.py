"""The HTTP pipeline for requests to a cluster's API."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflowaks.cloud.certificates import as_file
from airflowaks.cloud.cluster import SERVER_SCOPE

if TYPE_CHECKING:
    from azure.core import PipelineClient

    from airflowaks.cloud.cluster import Address
    from airflowaks.session import Session

# Server-side apply is idempotent.
_REPEATABLE = ("GET", "PATCH", "DELETE")
# It warns "Unable to stream download." whenever a watch breaks, which `Kube.follow` restarts; failures raise anyway.
logging.getLogger("azure.core.pipeline.transport._requests_basic").setLevel(logging.ERROR)


def pipeline(session: Session, address: Address) -> PipelineClient[Any, Any]:
    """Return azure-core's pipeline, which adds a valid token for the cluster to each request."""
    from azure.core import PipelineClient
    from azure.core.pipeline import policies
    from azure.core.pipeline.transport import RequestsTransport

    from airflowaks.cloud.thread_safety import thread_safe

    connection = session.connection
    options = connection.transport
    proxies = {} if address.is_local else options.get("proxies", {})
    usual: list[Any] = [
        policies.UserAgentPolicy(),
        policies.ProxyPolicy(proxies=proxies),
        policies.RetryPolicy(retry_on_methods=_REPEATABLE, **connection.limits),
        policies.BearerTokenCredentialPolicy(connection.credential, SERVER_SCOPE),
        policies.CustomHookPolicy(**options),
    ]
    # The machine's proxy settings do not apply to a cluster on this machine.
    certificates = str(as_file(address.certificates.encode("ascii")))
    transport = RequestsTransport(
        connection_verify=certificates, use_env_settings=not address.is_local, **connection.limits
    )
    return thread_safe(PipelineClient(address.server, policies=usual, transport=transport))
