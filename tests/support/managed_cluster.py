"""What the cluster's tests need of Azure: a managed cluster and its parts in this process, a vault, an identity."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from rehearsal_cloud.home import TENANT_ID, Home
from rehearsal_cloud.kubernetes import addons
from rehearsal_cloud.kubernetes.auth.access import Access
from rehearsal_cloud.kubernetes.objects.kinds import Kinds
from rehearsal_cloud.kubernetes.objects.objects import Objects
from rehearsal_cloud.kubernetes.objects.schema import Schemas
from rehearsal_cloud.kubernetes.recorder import Recorder
from rehearsal_cloud.resource_manager.cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal

VAULT_SCOPE = "https://vault.azure.net/.default"
VAULT_VERSION = "2026-02-01"


class Parts:
    """A cluster's objects and tokens in the test's own process, over the running cloud's state and services.

    What stands on a cluster takes this for one; the running cloud's own is another, with other objects.
    """

    def __init__(self, cloud: Cloud, document: dict[str, Any], folder: Path) -> None:
        self.cloud = cloud
        self.document = document
        self.issuer = document["properties"]["oidcIssuerProfile"]["issuerURL"]
        self.kinds, self.schemas = Kinds(), Schemas()
        self.objects = Objects(folder / "objects.sqlite", self.kinds, self.schemas)
        self.recorder = Recorder(self.objects)
        self.access = Access(self)
        for file in (resources.files(addons) / "crds").iterdir():
            if file.name.startswith("secretprovider"):
                self.objects.create(yaml.safe_load(file.read_text()))
        self.objects.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "airflow"}})


@contextmanager
def parts_of(rehearsal: Rehearsal, cluster_path: str, folder: Path) -> Iterator[Parts]:
    """Give the parts of the cluster with that resource ID."""
    home = Home(rehearsal.home)
    settings = home.settings()
    assert settings is not None
    cloud = Cloud(home, settings)
    document = cloud.store.get("resources", cluster_path.lower())
    assert document is not None
    parts = Parts(cloud, document, folder)
    try:
        yield parts
    finally:
        parts.objects.close()
        cloud.store.close()


def managed_cluster(send: Sender, subscription: str, group: str, **changes: Any) -> str:
    """Make a cluster as the runbook asks for it and return its resource ID."""
    path = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerService/managedClusters"
    path = f"{path}/airflow"
    properties = {
        "dnsPrefix": "airflow",
        "kubernetesVersion": "1.35",
        "agentPoolProfiles": [
            {"name": "system", "mode": "System", "count": 1, "vmSize": "Standard_D4s_v5", "osType": "Linux"}
        ],
        "aadProfile": {"managed": True, "enableAzureRBAC": True},
        "oidcIssuerProfile": {"enabled": True},
        "securityProfile": {"workloadIdentity": {"enabled": True}},
        "addonProfiles": {
            "azureKeyvaultSecretsProvider": {"enabled": True, "config": {"enableSecretRotation": "true"}}
        },
        **changes,
    }
    provider = f"/subscriptions/{subscription}/providers/Microsoft.ContainerService"
    send("POST", f"{provider}/register?api-version=2025-04-01")
    while send("GET", f"{provider}?api-version=2025-04-01").json()["registrationState"] != "Registered":
        time.sleep(0.05)
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}, "properties": properties}
    made = send("PUT", f"{path}?api-version=2026-06-01", body)
    assert made.status_code in (200, 201), made.text()
    settle(send, f"{path}?api-version=2026-06-01")
    return path


def settle(send: Sender, url: str) -> Any:
    """Wait until a resource is there, and return it."""
    deadline = time.monotonic() + 60
    while (found := send("GET", url).json())["properties"]["provisioningState"] != "Succeeded":
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def vault(send: Sender, subscription: str, group: str) -> tuple[str, str]:
    """Make a vault with RBAC; return its name and resource ID."""
    name = f"kv-{uuid.uuid4().hex[:12]}"
    path = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}"
    properties = {"tenantId": TENANT_ID, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True}
    url = f"{path}?api-version={VAULT_VERSION}"
    made = send("PUT", url, {"location": "westeurope", "properties": properties})
    assert made.status_code in (200, 201), made.text()
    settle(send, url)
    return name, path


def set_secret(send: Sender, vault_name: str, name: str, value: str) -> str:
    """Set a secret as the operator; return its version."""
    url = f"https://{vault_name}.vault.azure.net/secrets/{name}?api-version=7.6"
    made = send("PUT", url, {"value": value}, scope=VAULT_SCOPE)
    assert made.status_code == 200, made.text()
    return str(made.json()["id"]).rpartition("/")[2]


def identity(send: Sender, subscription: str, group: str, name: str = "pods") -> tuple[str, str, str]:
    """Make a managed identity; return client ID, object ID and resource ID."""
    path = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity"
    path = f"{path}/userAssignedIdentities/{name}"
    properties = send("PUT", f"{path}?api-version=2024-11-30", {"location": "westeurope"}).json()["properties"]
    return properties["clientId"], properties["principalId"], path


def trust(send: Sender, identity_path: str, issuer: str, subject: str) -> None:
    """Let a service account of the issuer be the identity."""
    body = {"properties": {"issuer": issuer, "subject": subject, "audiences": ["api://AzureADTokenExchange"]}}
    url = f"{identity_path}/federatedIdentityCredentials/airflow?api-version=2024-11-30"
    assert send("PUT", url, body).status_code == 201
