"""The rehearsal's certificate authorities, and its server certificate with all host names that it serves."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme

from rehearsal_cloud.home import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal_cloud.home import Home

HOSTS = (
    "management.azure.com",
    "login.microsoftonline.com",
    "graph.microsoft.com",
    "auth.docker.io",
    "registry-1.docker.io",
    "*.vault.azure.net",
    "*.azurecr.io",
    "*.blob.core.windows.net",
    "*.oic.prod-aks.azure.com",
)


def serves(host: str) -> bool:
    """Tell whether the rehearsal serves `host`; a wildcard covers exactly one label, as in TLS."""
    label, _, parent = host.lower().partition(".")
    return host.lower() in HOSTS or (bool(label) and f"*.{parent}" in HOSTS)


def server_context(home: Home, *, company_root: bool = False) -> ssl.SSLContext:
    """Return the TLS context of every listener; create the CA of `home` first where it is missing.

    With `company_root`, hosts behind the proxy show certificates of a company's CA, as a proxy that inspects TLS makes
    them: https://learn.microsoft.com/azure/firewall/premium-certificates
    """
    context = _context(home.ca_file, home.ca_key)
    if company_root:
        inspected = _context(home.company_ca_file, home.company_ca_key)

        def present(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
            if name and serves(name):
                connection.context = inspected

        context.sni_callback = present
    return context


def _context(file: Path, key: Path) -> ssl.SSLContext:
    if key.exists():
        authority = trustme.CA.from_pem(file.read_bytes(), key.read_bytes())
    else:
        authority = trustme.CA(
            organization_name="airflowaks rehearsal", organization_unit_name=f"rehearsal {file.stem}"
        )
        file.write_bytes(authority.cert_pem.bytes())
        write_private(key, authority.private_key_pem.bytes().decode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert(*HOSTS, "localhost", "127.0.0.1").configure_cert(context)
    return context
