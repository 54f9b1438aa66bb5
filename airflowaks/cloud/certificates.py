"""The root certificates of public authorities, as a file of this machine.

psycopg's wheels carry an OpenSSL of their own, whose default store exists on no machine (`/usr/lib/psycopg-openssl`, on
Windows under `Common Files`): `sslrootcert=system` without SSL_CERT_FILE ends in `certificate verify
failed`, measured with psycopg-binary 3.3.9. So libpq gets a file.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

# The systems' own bundles, which a system's OpenSSL names by folder only; https://go.dev/src/crypto/x509/root_linux.go
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)


def public_roots() -> Path:
    """Return the file of OpenSSL (or of SSL_CERT_FILE), else the system's, else certifi's, as on most of Windows."""
    # On Windows any user may create C:\etc.
    files = (ssl.get_default_verify_paths().cafile, *(() if os.name == "nt" else _BUNDLES))
    present = next((Path(file) for file in files if file and Path(file).is_file()), None)
    if present:
        return present
    import certifi

    return Path(certifi.where())
