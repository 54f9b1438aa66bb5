"""The rehearsal's certificate authority, and its server certificate with all host names that it serves."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme

from rehearsal_cloud.home import write_private

if TYPE_CHECKING:
    from rehearsal_cloud.home import Home

HOSTS = (
    "management.azure.com",
    "login.microsoftonline.com",
    "graph.microsoft.com",
    "*.vault.azure.net",
    "*.azurecr.io",
    "*.blob.core.windows.net",
    "*.oic.prod-aks.azure.com",
)


def serves(host: str) -> bool:
    """Tell whether the rehearsal serves `host`; a wildcard covers exactly one label, as in TLS."""
    label, _, parent = host.lower().partition(".")
    return host.lower() in HOSTS or (bool(label) and f"*.{parent}" in HOSTS)


def server_context(home: Home) -> ssl.SSLContext:
    """Return the TLS context of every listener; create the CA of `home` first where it is missing."""
    if home.ca_key.exists():
        authority = trustme.CA.from_pem(home.ca_file.read_bytes(), home.ca_key.read_bytes())
    else:
        authority = trustme.CA(organization_name="airflowaks rehearsal", organization_unit_name="rehearsal CA")
        home.ca_file.write_bytes(authority.cert_pem.bytes())
        write_private(home.ca_key, authority.private_key_pem.bytes().decode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert(*HOSTS, "localhost", "127.0.0.1").configure_cert(context)
    return context
