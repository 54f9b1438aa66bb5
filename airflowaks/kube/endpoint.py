"""Where the API of the environment's cluster is, and the pipeline that requests to it go through."""

from __future__ import annotations

import os
import tempfile
import weakref
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from azure.core import PipelineClient

    from airflowaks.session import Session

SERVER_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
"""The AKS server application, the same in every tenant: what tokens for a cluster's API are for."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# An apply comes to the same when it is sent twice.
_REPEATABLE = ("GET", "PATCH", "DELETE")


class Address(NamedTuple):
    """Where the API of a cluster is: the cluster's name, the URL, and the certificates (PEM) that it is known by."""

    cluster: str
    server: str
    certificates: str

    @property
    def is_local(self) -> bool:
        """Tell whether it is on this machine, where no proxy leads to."""
        return urlsplit(self.server).hostname in _LOOPBACK


def find(session: Session) -> Address:
    """Return where the API of the environment's cluster is, as a kubeconfig from Azure says.

    Raises azure-core's HttpResponseError where there is no cluster, or one may not ask.
    """
    import yaml

    settings = session.environment
    answer = session.clusters.managed_clusters.list_cluster_user_credentials(
        settings.resource_group, settings.cluster.name
    )
    kubeconfig = yaml.safe_load((answer.kubeconfigs or [])[0].value or b"")
    cluster = kubeconfig["clusters"][0]["cluster"]
    certificates = b64decode(cluster["certificate-authority-data"]).decode()
    return Address(settings.cluster.name, cluster["server"], certificates)


def pipeline(session: Session, address: Address) -> PipelineClient[Any, Any]:
    """Return azure-core's pipeline with a token for the cluster on each request, renewed when it is about to end."""
    from azure.core import PipelineClient
    from azure.core.pipeline import policies
    from azure.core.pipeline.transport import RequestsTransport

    connection = session.connection
    options = connection.transport
    proxies = {} if address.is_local else options.get("proxies", {})
    patience = {name: options[name] for name in ("connection_timeout", "retry_total") if name in options}
    usual: list[Any] = [
        policies.UserAgentPolicy(),
        policies.ProxyPolicy(proxies=proxies),
        policies.RetryPolicy(retry_on_methods=_REPEATABLE, **patience),
        policies.BearerTokenCredentialPolicy(connection.credential, SERVER_SCOPE),
    ]
    certificates = _certificate_file(address.certificates)
    # Proxies that the machine's own settings name lead nowhere from here to here.
    verified = {"connection_verify": str(certificates), "use_env_settings": not address.is_local}
    transport = RequestsTransport(**verified, **patience)
    weakref.finalize(transport, certificates.unlink, missing_ok=True)
    return PipelineClient(address.server, policies=usual, transport=transport)


def _certificate_file(certificates: str) -> Path:
    """Return a file with certificates, which the transport takes in no other form."""
    handle, name = tempfile.mkstemp(prefix="airflowaks-", suffix=".pem")
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(certificates)
    return Path(name)
