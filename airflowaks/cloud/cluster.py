"""Access to the cluster's Kubernetes API: its address, and the official client for it."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.mgmt.containerservice import ContainerServiceClient
    from kubernetes.client import ApiClient, Configuration

    from airflowaks.config.environment import Environment

SERVER_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
"""The scope of tokens for the Kubernetes API: the AKS server application, the same in every tenant."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Address(NamedTuple):
    """The address of a cluster's API: the cluster's name, the URL and the CA certificates (PEM)."""

    cluster: str
    server: str
    certificates: str

    @property
    def is_local(self) -> bool:
        """Whether the API is on this machine, which no proxy reaches."""
        return urlsplit(self.server).hostname in _LOOPBACK


def find_address(clusters: ContainerServiceClient, environment: Environment, ca_bundle: str | None) -> Address:
    """Return the API address of the environment's cluster from the kubeconfig that Azure returns.

    The cluster has a CA of its own; a proxy that inspects TLS shows a certificate of `ca_bundle` in its place.

    Raises azure-core's HttpResponseError if there is no cluster or the operator lacks the role.
    """
    import yaml

    group, name = environment.resource_group, environment.cluster.name
    answer = clusters.managed_clusters.list_cluster_user_credentials(group, name)
    kubeconfig = yaml.safe_load((answer.kubeconfigs or [])[0].value or b"")
    cluster = kubeconfig["clusters"][0]["cluster"]
    certificates = b64decode(cluster["certificate-authority-data"]).decode()
    company = Path(ca_bundle).read_bytes().decode("ascii", "ignore") if ca_bundle else ""
    return Address(name, cluster["server"], f"{certificates}\n{company}")


def official_client(address: Address, proxy: str | None, token: Callable[[], str]) -> ApiClient:
    """Return the official Python client of a cluster's API, which calls `token` before each request."""
    from kubernetes.client import ApiClient, Configuration

    def renew(configuration: Configuration) -> None:
        configuration.api_key["BearerToken"] = token()

    configuration = Configuration(
        host=address.server,
        api_key={"BearerToken": ""},  # without a key the client sends no header
        api_key_prefix={"BearerToken": "Bearer"},
        ca_cert_data=address.certificates,
        proxy="" if address.is_local else proxy,  # None means the machine's own settings
    )
    configuration.refresh_api_key_hook = renew  # type: ignore[assignment]  # declared as None alone
    return ApiClient(configuration)
