"""The DNS suffixes of Azure's services that have a host name for each resource."""

from __future__ import annotations

KEY_VAULT = "vault.azure.net"
CONTAINER_REGISTRY = "azurecr.io"
