"""A managed cluster, whose service accounts prove who they are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from rehearsal_cloud.entra.directory import signing_key
from rehearsal_cloud.store import Store

if TYPE_CHECKING:
    from azure.mgmt.resource.resources import ResourceManagementClient
    from cryptography.hazmat.primitives.asymmetric import rsa

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal


@pytest.fixture(scope="session")
def issuer(rehearsal: Rehearsal, resources: ResourceManagementClient, send: Sender) -> str:
    """The issuer of a managed cluster."""
    for namespace in ("Microsoft.ContainerService", "Microsoft.Network", "Microsoft.Compute"):
        send("POST", f"/subscriptions/{rehearsal.subscription}/providers/{namespace}/register?api-version=2025-04-01")
    resources.resource_groups.create_or_update("issuers", {"location": "westeurope"})
    cluster = (
        f"/subscriptions/{rehearsal.subscription}/resourceGroups/issuers/providers/Microsoft.ContainerService"
        "/managedClusters/one?api-version=2025-10-01"
    )
    pool = {"name": "system", "count": 1, "vmSize": "Standard_D4ds_v5", "mode": "System"}
    properties = {"dnsPrefix": "one", "agentPoolProfiles": [pool], "oidcIssuerProfile": {"enabled": True}}
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}, "properties": properties}
    made = send("PUT", cluster, body)
    assert made.status_code == 201, made.text()
    deadline = time.monotonic() + 60
    while (found := send("GET", cluster).json()["properties"])["provisioningState"] != "Succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return str(found["oidcIssuerProfile"]["issuerURL"])


@pytest.fixture(scope="session")
def cluster_key(rehearsal: Rehearsal, issuer: str) -> rsa.RSAPrivateKey:
    """The key that the cluster signs the tokens of its service accounts with."""
    store = Store(rehearsal.home / "cloud.sqlite")
    key = signing_key(store, f"oidc {issuer}")
    store.close()
    return key
