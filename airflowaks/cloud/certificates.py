"""The root certificates that clients trust: public ones, and a company's beside them, as a file of this machine.

psycopg's wheels carry an OpenSSL of their own, whose default store exists on no machine (`/usr/lib/psycopg-openssl`, on
Windows under `Common Files`): `sslrootcert=system` without SSL_CERT_FILE ends in `certificate verify
failed`, measured with psycopg-binary 3.3.9. So libpq gets a file.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
import threading
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


_folders: list[tempfile.TemporaryDirectory[str]] = []  # private to the user, and removed when the program ends
_lock = threading.Lock()


def with_public_roots(ca_bundle: str) -> Path:
    """Return a file with the certificates of `ca_bundle` and the public roots.

    A company's root is for what its proxy inspects; PostgreSQL and Redis show public certificates beside it.
    """
    content = Path(ca_bundle).read_bytes().rstrip() + b"\n" + public_roots().read_bytes()
    with _lock:
        if not _folders:
            _folders.append(tempfile.TemporaryDirectory(prefix="airflowaks-"))
        file = Path(_folders[0].name, f"{hashlib.sha256(content).hexdigest()}.pem")
        if not file.exists():
            file.write_bytes(content)
    return file
