"""The root certificates that clients trust: public ones, and a company's beside them, as a file of this machine.

psycopg's wheels carry an OpenSSL of their own, whose default store exists on no machine (`/usr/lib/psycopg-openssl`, on
Windows under `Common Files`): `sslrootcert=system` without SSL_CERT_FILE ends in `certificate verify
failed`, measured with psycopg-binary 3.3.9. So libpq gets a file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

# The systems' own bundles, which a system's OpenSSL names by folder only; https://go.dev/src/crypto/x509/root_linux.go
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)
_PREFIX = "airflowaks-ca-"
_LOCKING_SECONDS = 60


def public_roots() -> Path:
    """Return the file of OpenSSL (or of SSL_CERT_FILE), else the system's, else certifi's, as on most of Windows."""
    # On Windows any user may create C:\etc.
    files = (ssl.get_default_verify_paths().cafile, *(() if os.name == "nt" else _BUNDLES))
    for file in files:
        if file and Path(file).is_file():
            return Path(file)
    import certifi

    return Path(certifi.where())


_lock = threading.Lock()


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is private to the user; it is removed when the program ends, a killed one's by a later."""
    folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
    if os.name == "posix":
        import fcntl

        # Never closed: the lock ends with the program, however this ends.
        fcntl.flock(os.open(folder.name, os.O_RDONLY), fcntl.LOCK_EX)
        _sweep(Path(folder.name).parent)
    return folder


def _sweep(folder: Path) -> None:
    """Remove this user's folders whose programs have ended; one of the last minute may not be locked yet."""
    import fcntl

    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # its program runs, it is another user's, or another program removes it
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                status = os.fstat(descriptor)
                if status.st_uid == os.geteuid() and time.time() - status.st_mtime > _LOCKING_SECONDS:
                    shutil.rmtree(left)
            finally:
                os.close(descriptor)


def as_file(certificates: bytes) -> Path:
    """Return a file with `certificates`, for clients that accept only a path."""
    with _lock:
        file = Path(_folder().name, f"{hashlib.sha256(certificates).hexdigest()}.pem")
        if not file.exists():
            file.write_bytes(certificates)
    return file


def with_public_roots(ca_bundle: str) -> Path:
    """Return a file with the certificates of `ca_bundle` and the public roots.

    A company's root is for what its proxy inspects; PostgreSQL and Redis show public certificates beside it. certifi's
    are added in any case: where a company has a root, SSL_CERT_FILE may name a file with that root alone.
    """
    import certifi

    files = (Path(ca_bundle), public_roots(), Path(certifi.where()))
    return as_file(b"\n".join(file.read_bytes().rstrip() for file in files) + b"\n")
